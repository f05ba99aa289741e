"""`lamplan fit`: a controller from a robot's own logs, the only training that reads actions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from lamplan.controllers import new_controller, save_controller
from lamplan.errors import DataError
from lamplan.lam import LatentActionModel
from lamplan.logs import check_limits, open_log
from lamplan.models.controller import Controller, ControllerConfig
from lamplan.robot import RobotSpec
from lamplan.train.card import write_card
from lamplan.train.loop import Budget, train
from lamplan.train.optimiser import OptimiserConfig
from lamplan.weights import fingerprint

VALIDATION_SHARE = 0.1
FARTHEST = {"arm": 3, "mobile": 8}  # steps between here and a goal that proposals are made for: a plan's horizon


@dataclass(frozen=True)
class LabelledFeatures:
    """Episodes as features (T, P, D) float16, measured states (T, S) and the actions (T-1, A) between them."""

    features: list[Tensor]
    states: list[np.ndarray]
    actions: list[Tensor]

    def windows(self, length: int) -> list[tuple[int, int]]:
        """(episode, first frame) of every window of `length` frames."""
        return [(e, t) for e, f in enumerate(self.features) for t in range(len(f) - length + 1)]

    def read(self, windows: list[tuple[int, int]], length: int) -> tuple[Tensor, Tensor]:
        """Features (B, length, P, D) and actions (B, length-1, A)."""
        return (torch.stack([self.features[e][t : t + length] for e, t in windows]).float(),
                torch.stack([self.actions[e][t : t + length - 1] for e, t in windows]))

    def part(self, validation: bool) -> LabelledFeatures:
        """The last tenth of the episodes (at least one), or the others: the split is by episode."""
        held_out = max(1, round(len(self.features) * VALIDATION_SHARE))
        chosen = slice(-held_out, None) if validation else slice(0, -held_out)
        return LabelledFeatures(self.features[chosen], self.states[chosen], self.actions[chosen])

    def pairs(self, count: int, farthest: int, rng: np.random.Generator, spec: RobotSpec) -> tuple[Tensor, Tensor, Tensor]:
        """Two moments at most `farthest` steps apart: features (B, P, D) of both, and the motion (B, A) in between."""
        now, later, moved = [], [], []
        for e in rng.integers(len(self.features), size=count):
            length = len(self.features[e])
            gap = int(rng.integers(1, min(farthest, length - 1) + 1))
            t = int(rng.integers(length - gap))
            now.append(self.features[e][t])
            later.append(self.features[e][t + gap])
            moved.append(spec.differences(self.states[e][[t, t + gap]])[0])
        return torch.stack(now).float(), torch.stack(later).float(), torch.from_numpy(np.stack(moved)).float().to(now[0].device)


@torch.inference_mode()
def read_labelled(logs: list[Path], lam: LatentActionModel, spec: RobotSpec) -> LabelledFeatures:
    """Checks and encodes the episodes of all logs. Actions are the differences of consecutive measured states."""
    episodes = [episode for log in logs for episode in open_log(log)]
    if len(episodes) < 2:
        raise DataError(f"{', '.join(map(str, logs))} holds {len(episodes)} episode: at least 2 are needed, "
                        "one to fit to and one held out.")
    for episode in episodes:
        check_limits(episode, spec)
    device = lam.encoder.pixel_mean.device
    features, states, actions = [], [], []
    for episode in tqdm(episodes, desc="encode logs", unit="episode", dynamic_ncols=True):
        images = torch.from_numpy(np.ascontiguousarray(episode.frames(spec.camera))).to(device)
        features.append(torch.cat([lam.encode(part) for part in images.split(64)]).half())
        states.append(np.asarray(episode.states))
        actions.append(torch.from_numpy(spec.differences(episode.states)).float().to(device))
    return LabelledFeatures(features, states, actions)


def fit(logs: list[Path], robot: Path, checkpoint: Path, *, budget: Budget, run: Path, batch: int = 32, seed: int = 0,
        config: ControllerConfig | None = None, device: str = "cpu") -> dict[str, float]:
    """Fits the robot's controller to the inferred latents of its logs (L2), writes it beside robot.toml, returns its scores.

    Where the model was trained on clips of every k-th frame, the motion of up to k steps counts as an action too. The way back,
    from a latent to the robot's motion, learns at the same time (smooth L1) from moments up to FARTHEST steps apart.

    The scores, on held-out episodes: `latent_error`, the L2 distance to the inferred latents as a share of their variance (0
    perfect, 1 no better than a constant); `motion_error`, the same share for the motion that is proposed towards a frame up to
    FARTHEST steps away; one-step L1 of the world model with inferred, controller, zero latents, and of copying.
    """
    config = config or ControllerConfig()
    lam, spec = LatentActionModel.load(checkpoint).to(device), RobotSpec.load(robot)
    labelled = read_labelled(logs, lam, spec)
    training, held_out = labelled.part(validation=False), labelled.part(validation=True)
    torch.manual_seed(seed)
    controller = new_controller(config, lam, spec).to(device)
    _measure_actions(controller, training)
    # The targets never change: inferred once, not at every step.
    targets = infer_latents(lam, training)
    windows, strides = training.windows(2), lam.config.max_stride
    validation = held_out.read(held_out.windows(2)[:256], 2)
    checks = held_out.pairs(256, FARTHEST[spec.kind], np.random.default_rng(seed), spec)

    def draw(step: int, size: int) -> tuple[Tensor, ...]:
        rows = np.random.default_rng((seed, step)).integers(len(windows), size=size)
        chosen = [windows[row] for row in rows]
        s = torch.stack([training.features[e][t] for e, t in chosen]).float()
        actions = torch.stack([training.actions[e][t] for e, t in chosen])
        latents = torch.stack([targets[e][t] for e, t in chosen])
        if strides > 1:  # a latent of this model may stand for several steps: so may an action of its controller
            far = training.pairs(size, strides, np.random.default_rng((seed, step, 3)), spec)
            with torch.no_grad():
                s, actions, latents = (torch.cat(both) for both in ((s, far[0]), (actions, far[2]), (latents, lam.infer(far[0], far[1]))))
        pairs = training.pairs(size, FARTHEST[spec.kind], np.random.default_rng((seed, step, 1)), spec)
        return s, actions, latents, *pairs

    def loss(drawn: tuple[Tensor, ...], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        s, actions, latents, now, later, moved = drawn
        l2 = F.mse_loss(controller(s, actions), latents)
        with torch.no_grad():
            between = lam.infer(now, later)
        proposed = controller.actions(now, between[:, None])[:, 0]
        motion = F.smooth_l1_loss(proposed / controller.action_scale, moved / controller.action_scale)
        return l2 + motion, {"l2": l2, "motion": motion}

    done = train(controller, draw, loss, budget, run, batch=batch, title=f"controller {spec.name}", config=OptimiserConfig(), seed=seed,
                 validate=lambda: scores(lam, controller, validation) | {"motion_error": motion_error(lam, controller, checks)},
                 validate_every=500)
    controller.proposal_spread.copy_(proposal_errors(lam, controller, checks).square().mean(0).sqrt().clamp_min(1e-4))
    _measure_latents(controller, lam, training, FARTHEST[spec.kind], spec, seed)
    folder = save_controller(controller.eval(), config, robot, checkpoint)
    write_card(folder, f"Controller of {spec.name} for", {"Logs": {log.name: f"{len(open_log(log))} episodes" for log in logs},
                                                          "Latent action model": {"checkpoint": fingerprint(checkpoint)}},
               {"controller": done})
    return done.validation


@torch.no_grad()
def infer_latents(lam: LatentActionModel, labelled: LabelledFeatures) -> list[Tensor]:
    """Per episode, the latents (T-1, Z) inferred between consecutive frames."""
    episodes = tqdm(labelled.features, desc="infer latents", unit="episode", dynamic_ncols=True)
    return [lam.infer(f[:-1].float(), f[1:].float()) for f in episodes]


@torch.inference_mode()
def proposal_errors(lam: LatentActionModel, controller: Controller, pairs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """How far (B, A) the motion proposed from one frame to another lies from the measured one."""
    now, later, moved = pairs
    return controller.actions(now, lam.infer(now, later)[:, None])[:, 0] - moved


def motion_error(lam: LatentActionModel, controller: Controller, pairs: tuple[Tensor, Tensor, Tensor]) -> float:
    """The proposals' squared error as a share of the motion's variance, averaged over the action's dimensions that vary."""
    errors, variance = proposal_errors(lam, controller, pairs).square().mean(0), pairs[2].var(0, unbiased=False)
    varies = variance > 1e-9
    return (errors[varies] / variance[varies]).mean().item() if varies.any() else 0.0


def _measure_actions(controller: Controller, labelled: LabelledFeatures) -> None:
    actions = torch.cat(labelled.actions)
    controller.action_mean.copy_(actions.mean(0))
    controller.action_scale.copy_(actions.std(0).clamp_min(1e-3))


@torch.inference_mode()
def _measure_latents(controller: Controller, lam: LatentActionModel, training: LabelledFeatures, farthest: int, spec: RobotSpec,
                     seed: int, pairs: int = 2048) -> None:
    """Mean and principal axes of the latents between moments up to `farthest` steps apart."""
    rng = np.random.default_rng((seed, 2))
    batches = [training.pairs(128, farthest, rng, spec)[:2] for _ in range(pairs // 128)]
    latents = torch.cat([lam.infer(now, later) for now, later in batches])
    variances, axes = torch.linalg.eigh(torch.cov(latents.T))
    controller.latent_mean.copy_(latents.mean(0))
    # Directions without any spread keep a little, so that the way back into this space exists.
    controller.latent_basis.copy_(axes * variances.clamp_min(1e-4 * variances.max()).sqrt())


@torch.inference_mode()
def scores(lam: LatentActionModel, controller: Controller, windows: tuple[Tensor, Tensor]) -> dict[str, float]:
    """How well a controller stands in for the inverse dynamics model; see `fit`."""
    (s, s_next), action = windows[0].unbind(1), windows[1][:, 0]
    inferred, mapped = lam.infer(s, s_next), controller(s, action)

    def one_step(z: Tensor) -> float:
        return F.l1_loss(lam.predict(s[:, None], z[:, None]), s_next).item()

    return {"latent_error": ((mapped - inferred).square().sum() / (inferred - inferred.mean(0)).square().sum()).item(),
            "inferred": one_step(inferred), "controller": one_step(mapped), "zero": one_step(torch.zeros_like(inferred)),
            "copy": F.l1_loss(s, s_next).item()}
