"""`Planner`: an observation and a goal image in, actions in the robot's own units out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamplan.controllers import load_controller
from lamplan.errors import InputError
from lamplan.lam import LatentActionModel
from lamplan.robot import RobotSpec
from lamplan.rollout import Dynamics, LatentDynamics, Past, goal_costs
from lamplan.search import CEM, Search, SearchSpace

NEAR_LIMIT = 0.01
"""An action this share of its range from a limit counts as at the limit."""
Constraint = Callable[[Tensor], Tensor]
"""A user's cost (B, N) on candidate actions (B, N, H, A), added to the distance to the goal."""


@dataclass(frozen=True)
class Plan:
    """What a planner found. Without a batch dimension when the observation had none.

    actions ([B,] H, A) in the robot's units; cost ([B]) mean squared feature distance to the goal after the last action (and
    the constraint's cost); start_cost ([B]) the same distance before moving; cost_curve (iterations[, B]) the best candidate's;
    predicted ([B,] H, P, D) features of the imagined frames; limit_active ([B]) whether an action lies at one of the robot's
    limits; timings in seconds.
    """

    actions: np.ndarray
    cost: np.ndarray
    start_cost: np.ndarray
    cost_curve: np.ndarray
    predicted: np.ndarray
    limit_active: np.ndarray
    timings: dict[str, float]
    names: tuple[str, ...]

    def __str__(self) -> str:
        first = self.actions.reshape(-1, *self.actions.shape[-2:])[0, 0]
        action = ", ".join(f"{name} {value:+.3f}" for name, value in zip(self.names, first, strict=True))
        limits = ", at a limit" if np.any(self.limit_active) else ""
        return (f"Plan({self.actions.shape[-2]} steps, first: {action}; cost {np.mean(self.start_cost):.4f} -> {np.mean(self.cost):.4f}"
                f"{limits}; {sum(self.timings.values()):.2f} s)")

    def plot(self, path: str | Path) -> None:
        """Writes a picture: cost over the search's iterations, and the planned actions."""
        from lamplan.report.plan import plot_plan  # matplotlib only when somebody looks

        plot_plan(self.actions, self.cost_curve, self.start_cost, self.names, Path(path))


class Planner:
    """Model-predictive control in feature space: searches the actions whose imagined outcome looks most like the goal."""

    def __init__(self, dynamics: Dynamics, robot: RobotSpec, search: Search | None = None, seed: int = 0, warm_start: bool = False,
                 proposals: bool = False) -> None:
        self.dynamics, self.robot, self.search, self.seed = dynamics, robot, search or CEM(), seed
        self.warm_start, self.proposals = warm_start, proposals
        self._previous: Tensor | None = None

    @classmethod
    def load(cls, checkpoint: str | Path, robot: str | Path, search: Search | None = None, seed: int = 0,
             warm_start: bool = False, proposals: bool = False) -> Planner:
        """A planner from a checkpoint folder and a robot's folder, which holds `robot.toml` and a controller fitted to it.

        With `proposals` the search begins at the motion that the inverse dynamics model sees between observation and goal, with
        the spread that such proposals showed when the controller was fitted, instead of at the prior in `robot.toml`.
        """
        lam = LatentActionModel.load(checkpoint)
        spec = RobotSpec.load(robot)
        return cls(LatentDynamics(lam, load_controller(robot, checkpoint, lam, spec)), spec, search, seed, warm_start, proposals)

    def reset(self) -> None:
        """Forgets the previous plan, from which a warm start would begin."""
        self._previous = None

    @torch.no_grad()  # not inference mode: a search may follow the gradient of the cost
    def plan(self, obs: Any, goal: Any, seed: int | None = None, constraint: Constraint | None = None) -> Plan:
        """Plans from what the robot sees now towards a goal image.

        obs: a uint8 image (H, W, 3), a batch (B, H, W, 3), a list of such images or batches, oldest first (a short history),
        or a dict that has one of these under the robot's camera name. goal: an image, a batch, or encoded features
        ([B,] P, D). The same seed gives the same plan. With `warm_start` the search begins at the previous plan, moved on
        by one step. Raises InputError, naming what was wrong, rather than return an action that is not finite.
        """
        begun = time.perf_counter()
        frames, single = self._frames(obs)
        target = self._goal(goal, len(frames))
        past = self.dynamics.start(frames)
        encoded = time.perf_counter()

        def cost(actions: Tensor) -> Tensor:
            distance = goal_costs(self.dynamics, past, target, actions)
            return distance if constraint is None else distance + constraint(actions)

        generator = torch.Generator().manual_seed(self.seed if seed is None else seed)
        found = self.search.minimise(cost, self._space(past, target), generator)
        predicted = torch.cat([self.dynamics.rollout(past.episode(b), found.actions[b : b + 1, None])[:, 0] for b in range(len(frames))])
        if not (torch.isfinite(found.actions).all() and torch.isfinite(found.cost).all()):
            raise InputError("the search found no finite plan: a constraint or the model's features returned a NaN or an infinity.")
        self._previous = found.actions
        # Single precision may round a limit up: clip once more in the robot's own numbers.
        actions = self.robot.clip(found.actions.double().numpy())
        near = NEAR_LIMIT * (self.robot.high - self.robot.low)
        at_limit = ((actions < self.robot.low + near) | (actions > self.robot.high - near)).any((1, 2))
        pick: Any = 0 if single else slice(None)
        return Plan(
            actions=actions[pick], cost=found.cost.numpy()[pick],
            start_cost=(past.present - target).square().mean((-1, -2)).numpy()[pick],
            cost_curve=found.curve[:, pick].numpy(), predicted=predicted.numpy()[pick], limit_active=at_limit[pick],
            timings={"encode_s": encoded - begun, "search_s": time.perf_counter() - encoded}, names=self.robot.names)

    def _space(self, past: Past, goal: Tensor) -> SearchSpace:
        low, high, mean, std = (torch.as_tensor(v, dtype=torch.float32)
                                for v in (self.robot.low, self.robot.high, self.robot.prior_mean, self.robot.prior_std))
        steps = self.search.horizon
        begin = mean.expand(len(past), steps, -1)
        if self.proposals:
            proposal = self.dynamics.propose(past, goal)
            if proposal is None:
                raise InputError(f"{type(self.dynamics).__name__} cannot propose where to begin a search: plan with proposals=False.")
            action = torch.from_numpy(self.robot.split(proposal.displacement.double().numpy(), steps)).float()
            # Errors of independent steps add up to the spread of the whole motion.
            begin, std = action[:, None].expand(-1, steps, -1), proposal.spread / steps**0.5
        if self.warm_start and self._previous is not None and self._previous.shape == begin.shape:
            begin = torch.cat([self._previous[:, 1:], begin[:, -1:]], dim=1)
        return SearchSpace(low, high, begin, std)

    def _frames(self, obs: Any) -> tuple[Tensor, bool]:
        """Features (B, T, P, D) of the history, and whether there was no batch dimension."""
        if isinstance(obs, Mapping):
            if self.robot.camera not in obs:
                raise InputError(f"the observation has no '{self.robot.camera}', the camera of {self.robot.name}; it has {sorted(obs)}.")
            obs = obs[self.robot.camera]
        history = [images_of(image, "obs") for image in (obs if isinstance(obs, Sequence) else [obs])]
        if not history or len({image.shape for image in history}) != 1:
            raise InputError(f"a history is a list of images of one shape, found {[tuple(image.shape) for image in history]}.")
        single = history[0].ndim == 3
        batch = torch.stack([image[None] if single else image for image in history], dim=1)
        return self.dynamics.encode(batch), single

    def _goal(self, goal: Any, episodes: int) -> Tensor:
        if (isinstance(goal, np.ndarray) and goal.dtype.kind == "f") or (isinstance(goal, Tensor) and goal.is_floating_point()):
            features = torch.as_tensor(np.ascontiguousarray(goal)).float()
            features = features[None] if features.ndim == 2 else features
            if features.ndim != 3 or not torch.isfinite(features).all():
                raise InputError(f"an encoded goal holds finite features ([B,] P, D), found shape {tuple(features.shape)}; "
                                 "an image must be uint8.")
        else:
            image = images_of(goal, "goal")
            features = self.dynamics.encode(image[None] if image.ndim == 3 else image)
        if len(features) not in (1, episodes):
            raise InputError(f"{len(features)} goals for {episodes} observations: give one goal, or one for each.")
        return features.expand(episodes, -1, -1)


def images_of(value: Any, name: str) -> Tensor:
    """A uint8 tensor (H, W, 3) or (B, H, W, 3) of what a user passed as an image, or a sentence that says what is wrong."""
    try:
        image = torch.as_tensor(np.ascontiguousarray(value) if not isinstance(value, Tensor) else value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a uint8 image (H, W, 3) or a batch (B, H, W, 3), found {type(value).__name__}.") from None
    if image.dtype != torch.uint8:
        raise InputError(f"{name} must be uint8 (0 to 255), found {image.dtype}; multiply an image in 0..1 by 255 and convert it.")
    if image.ndim not in (3, 4) or image.shape[-1] != 3 or min(image.shape) == 0:
        raise InputError(f"{name} must have shape (H, W, 3) or (B, H, W, 3), found {tuple(image.shape)}.")
    return image
