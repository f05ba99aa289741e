"""`lamplan fit`: a controller and a goal regression from a robot's own logs, the only training that reads actions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from lamplan.controllers import latents_fingerprint, new_controller, new_regression, save_controller, save_regression
from lamplan.lam import LatentActionModel
from lamplan.logs import open_log
from lamplan.logs.identity import identity
from lamplan.models.controller import Controller, ControllerConfig
from lamplan.models.goal_regression import GoalRegression
from lamplan.precision import Precision
from lamplan.robot import RobotSpec, robot_file
from lamplan.train.best import Patience
from lamplan.train.card import write_card
from lamplan.train.distribution import Execution
from lamplan.train.goal_regression import fit_regression, gain_on
from lamplan.train.labelled import (
    FARTHEST,
    PATIENCE,
    VALIDATE_EVERY,
    InferredPairs,
    MotionPairs,
    Split,
    cross_splits,
    every_pair,
    open_episodes,
    split,
)
from lamplan.train.loop import Budget, Trained, train
from lamplan.train.optimiser import OptimiserConfig
from lamplan.train.snapshots import settle
from lamplan.train.verdict import Errors, Measured, held_out_errors, measured

STILL = 0.05
"""Share of its range by which an action is divided where the log hardly moves: a first motion is then no outlier of thousands."""


@dataclass(frozen=True)
class Recipe:
    """How a controller and a goal regression are fitted, the same for every camera and every fold."""

    controller: ControllerConfig
    budget: Budget
    batch: int
    seed: int
    optimiser: OptimiserConfig
    execution: Execution


def fit(logs: Sequence[Path], robot: Path, checkpoint: Path, *, budget: Budget, run: Path, batch: int = 64, seed: int = 0,
        config: ControllerConfig | None = None, optimiser: OptimiserConfig | None = None, folds: int = 1,
        device: str = "cpu", precision: Precision = "fp32") -> dict[str, Measured]:
    """Fits a controller and a goal regression for each of the robot's cameras, writes them beside robot.toml, and returns what each
    camera's are worth.

    A controller learns the latents that are inferred between frames of the logs from the motion in between (L2), and the way back,
    from a latent to the motion (smooth L1), from moments up to FARTHEST steps apart. Where the model was trained on clips of
    every k-th frame, the motion of up to k steps counts as an action too. The regression (`lamplan.train.goal_regression`) learns the
    motion between two frames as such, up to FARTHEST_GOAL steps apart, and begins as the inverse dynamics model. The budget is the
    most that is spent on each of the two: the weights kept are those with the least error on episodes set apart for that, and a run
    ends when PATIENCE validations brought nothing better.

    With a `precision` of bf16 the matrix products are in bf16, of encoder and inverse dynamics as well; what is measured is so in fp32.

    It is measured on other episodes still (see `labelled.split`), or, with `folds` of 2 or more, on every one: so many times a
    controller is fitted without another fold of them. That is for logs of few episodes; the controller that is written
    then learned from all but those that said when to stop.

    `run` keeps what goes on where it was interrupted, also with a larger budget; InputError where that is of another fit.
    """
    recipe = Recipe(config or ControllerConfig(), budget, batch, seed, optimiser or OptimiserConfig(), Execution(precision))
    lam = LatentActionModel.load(checkpoint).to(device)
    latents = latents_fingerprint(lam)
    found: dict[str, Measured] = {}
    for camera in (cameras := RobotSpec.load(robot).cameras):
        spec = RobotSpec.load(robot, camera)
        episodes = open_episodes(logs, spec)
        where, whole, errors = run if len(cameras) == 1 else run / camera, split(len(episodes)), []
        others = [] if folds == 1 else cross_splits(len(episodes), folds)
        settle(where, identity(logs, episodes) | {
            "robot.toml": hashlib.sha256(robot_file(robot).read_bytes()).hexdigest()[:16],
            "latents": f"{latents} of strides up to {lam.config.max_stride}", "folds": str(folds), "seed": str(seed), "batch": str(batch),
            "precision": precision, "sizes": str(recipe.controller), "optimiser": str(recipe.optimiser)})
        goals, pairs = every_pair(episodes, lam, spec, precision)
        if others:
            for fold, without in enumerate(others):
                fitted = fit_once(lam, pairs, goals, without, spec, recipe, where / f"fold-{fold}-of-{folds}")
                errors.append(fitted.errors(lam, pairs, without, spec))
            whole = Split([*range(len(episodes) - len(whole.test))], whole.test, [])
        fitted = fit_once(lam, pairs, goals, whole, spec, recipe, where)
        errors = errors or [fitted.errors(lam, pairs, whole, spec)]
        together = Errors.joined(errors)
        fitted.controller.proposal_spread.copy_(spread_of(together.proposal))
        fitted.regression.spread.copy_(spread_of(together.regression))
        found[camera] = measured(together, spec, seed)
        folder = save_controller(fitted.controller.eval(), recipe.controller, robot, checkpoint, lam, spec)
        save_regression(fitted.regression, lam, folder, spec)
        write_card(folder, f"Controller of {spec.name} for", {
            "Logs": {log.name: f"{len(open_log(log))} episodes" for log in logs} | {"camera": camera} | _shares(whole, folds),
            "Latent action model": {"latents": latents},
            "Held-out episodes": found[camera].facts(),
            **{f"Believed of what {said} (1 all, 0 nothing: left as it is)": dict(
                zip(spec.names, (f"{gain:.2f}" for gain in network.gain.tolist()), strict=True))
               for said, network in (("the goal regression says", fitted.regression),
                                     ("the controller reads back", fitted.controller))}}, fitted.done)
    return found


@dataclass(frozen=True)
class Fitted:
    """Both networks of a camera, and how their trainings went."""

    controller: Controller
    regression: GoalRegression
    done: dict[str, Trained]

    def errors(self, lam: LatentActionModel, pairs: InferredPairs, parts: Split, spec: RobotSpec) -> Errors:
        """Both networks' errors on the episodes that are measured on."""
        return held_out_errors(lam, self.controller, self.regression, pairs.of(parts.test), spec, pairs.of(parts.training).usual())


def fit_once(lam: LatentActionModel, pairs: InferredPairs, goals: MotionPairs, parts: Split, spec: RobotSpec, recipe: Recipe,
             run: Path) -> Fitted:
    """Both networks fitted to the training episodes, each with the weights that were best on the validation episodes."""
    controller, done = fit_controller(lam, pairs, parts, spec, recipe, run)
    torch.manual_seed(recipe.seed)
    regression = new_regression(lam, spec).to(goals.features.device)
    regressed = fit_regression(regression, goals, parts, spec, recipe.budget, run / "regression", batch=recipe.batch, seed=recipe.seed,
                               optimiser=recipe.optimiser, execution=recipe.execution)
    return Fitted(controller, regression, {"controller": done, "goal regression": regressed})


def spread_of(errors: np.ndarray) -> Tensor:
    """The standard deviation (A) of errors (N, A) around zero, and a little where there were none."""
    return torch.from_numpy(errors).square().mean(0).sqrt().clamp_min(1e-4)


def fit_controller(lam: LatentActionModel, pairs: InferredPairs, parts: Split, spec: RobotSpec, recipe: Recipe,
                   run: Path) -> tuple[Controller, Trained]:
    """A controller fitted to the training episodes, with the weights that were best on the validation episodes."""
    training, validation = pairs.of(parts.training), pairs.of(parts.validation).at_most(512)
    torch.manual_seed(recipe.seed)
    controller = new_controller(recipe.controller, lam, spec).to(pairs.features.device)
    _measure_actions(controller, training.moved[training.gap == 1], spec)
    _measure_latents(controller, training.latents[training.gap <= FARTHEST[spec.kind]])
    strides = lam.config.max_stride
    near = torch.nonzero(training.gap <= strides)[:, 0]  # a latent of this model may stand for so many steps: so may an action

    def draw(step: int, size: int) -> tuple[Tensor, ...]:
        """Half the pairs are as near as a latent knows them, half of any distance: frame, motion, latent, steps in between."""
        rng = np.random.default_rng((recipe.seed, step))
        rows = torch.cat([near[torch.from_numpy(rng.integers(len(near), size=size // 2)).to(near.device)],
                          torch.from_numpy(rng.integers(len(training), size=size - size // 2)).to(near.device)])
        return training.features[training.first[rows]].float(), training.moved[rows], training.latents[rows], training.gap[rows]

    def loss(drawn: tuple[Tensor, ...], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        s, moved, latents, gap = drawn
        forwards, back = controller.both(s, moved, latents)
        known = (gap <= strides).float()
        l2 = ((forwards - latents).square().mean(1) * known).sum() / known.sum()
        motion = F.smooth_l1_loss(back / controller.action_scale, moved / controller.action_scale)
        return l2 + motion, {"l2": l2, "motion": motion}

    if unscored := {"latent_error", "motion_error"} - scores(controller, validation, strides).keys():
        tqdm.write(f"controller {spec.name} {spec.camera}: there is no {' and no '.join(sorted(unscored))}, because in the held-out "
                   f"episodes nothing of it varies ({len(validation)} pair{'s' * (len(validation) > 1)} of frames); record more or longer "
                   "ones.")
    done = train(controller, draw, loss, recipe.budget, run, batch=recipe.batch, title=f"controller {spec.name} {spec.camera}",
                 config=recipe.optimiser, seed=recipe.seed, validate=lambda: scores(controller, validation, strides),
                 validate_every=VALIDATE_EVERY, patience=Patience("error", PATIENCE), execution=recipe.execution)
    controller.gain.copy_(gain_on(validation, answers(controller, validation)[1]))
    return controller, done


@torch.inference_mode()
def answers(controller: Controller, pairs: InferredPairs) -> tuple[Tensor, Tensor]:
    """Latents (N, Z) of the motions of all pairs, and motions (N, A) of their latents."""
    both = [controller.both(pairs.frames(rows)[0], pairs.moved[rows], pairs.latents[rows])
            for rows in torch.arange(len(pairs), device=pairs.first.device).split(64)]
    forwards, back = (torch.cat(part) for part in zip(*both, strict=True))
    return forwards, back


def scores(controller: Controller, pairs: InferredPairs, strides: int) -> dict[str, float]:
    """`latent_error`, the squared distance to the inferred latents as a share of their variance (0 perfect, 1 no better than a
    constant), of pairs at most `strides` steps apart; `motion_error`, the same share for what is believed of the motion read back from a
    latent, averaged over the action's dimensions that vary; `error`, the mean of the two.

    A share is left out where what it is a share of does not vary, as in episodes of two frames; without either, `error` is the squared
    distance alone, of latents and of motions in units of their spread."""
    forwards, back = answers(controller, pairs)
    back = back * gain_on(pairs, back)
    known = pairs.gap <= strides
    truth = pairs.latents[known]
    distance, spread = (forwards[known] - truth).square(), (truth - truth.mean(0)).square().sum()
    errors, variance = (back - pairs.moved).square().mean(0), pairs.moved.var(0, unbiased=False)
    varies = variance > 1e-9
    shares = {} if spread <= 1e-9 else {"latent_error": (distance.sum() / spread).item()}
    if varies.any():
        shares["motion_error"] = (errors[varies] / variance[varies]).mean().item()
    if shares:
        return shares | {"error": sum(shares.values()) / len(shares)}
    return {"error": (distance.mean() + (errors / controller.action_scale.square()).mean()).item()}


def _measure_actions(controller: Controller, actions: Tensor, spec: RobotSpec) -> None:
    still = STILL * torch.from_numpy(spec.high - spec.low).float().to(actions.device) / 2
    controller.action_mean.copy_(actions.mean(0))
    controller.action_scale.copy_(torch.maximum(actions.std(0, unbiased=False), still))


def _measure_latents(controller: Controller, latents: Tensor) -> None:
    """Mean and principal axes of the latents between moments up to a plan apart."""
    variances, axes = torch.linalg.eigh(torch.cov(latents.T))
    controller.latent_mean.copy_(latents.mean(0))
    # Directions without any spread keep a little, so that the way back into this space exists.
    controller.latent_basis.copy_(axes * variances.clamp_min(1e-4 * variances.max()).sqrt())


def _shares(parts: Split, folds: int) -> dict[str, str]:
    measured_on = (f"every episode, each by one of {folds} more controllers fitted without it" if folds > 1 else
                   "the same" if parts.test == parts.validation else f"{len(parts.test)} others")
    return {"learned from": f"{len(parts.training)} episodes", "said when to stop": f"{len(parts.validation)} episodes",
            "measured on": measured_on}
