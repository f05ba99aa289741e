"""The energy check: is the imagined outcome nearest to what really followed when the action is the one really taken?

Shapes: B pairs of moments, K offsets along an axis, A numbers per action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lamplan.controllers import load_controller
from lamplan.costs import GoalCost, Goals
from lamplan.errors import DataError
from lamplan.lam import LatentActionModel
from lamplan.logs import Episode, episodes_of, path_of
from lamplan.report.bootstrap import bootstrap_mean
from lamplan.report.energy import plot_energy
from lamplan.robot import RobotSpec
from lamplan.rollout import Dynamics, LatentDynamics, costs_of
from lamplan.train.labelled import split

REACH = 0.5
"""How far to either side of the true action is looked: this share of the way between its limits, so that few offsets leave them."""
FLAT = 0.01
"""A cost that varies by less than this share of what doing nothing costs says nothing of an axis."""
CURVE, PLANE, RANDOM = 21, 11, 64  # offsets along an axis and along each side of a landscape (both odd: the middle is the truth); draws
IN_FLIGHT = 64  # candidates imagined at once


@dataclass(frozen=True)
class Axis:
    """Where the cost along one axis of the action has its minimum, as an offset from the true action in `unit`: mean and 95 % interval;
    `distance` the same of its size, and `chance` the size if it lay anywhere. `depth` is how much of the cost depends on this axis, `grid`
    the step between two offsets."""

    name: str
    unit: str
    offset: tuple[float, float, float]
    distance: tuple[float, float, float]
    chance: float
    depth: float
    grid: float

    @property
    def verdict(self) -> str:
        """A mean within one step of the grid counts as at the truth, unless the single minima lie as far from it as by chance."""
        if self.depth < FLAT:
            return "the cost hardly depends on it"
        if self.offset[1] > self.grid or self.offset[2] < -self.grid:
            return "beside the true action"
        return "at the true action" if self.distance[2] < self.chance else "anywhere"

    def __str__(self) -> str:
        mean, low, high = self.offset
        return (f"{self.name:<9} minimum {mean:+.3f} [{low:+.3f}, {high:+.3f}] {self.unit} from the true action, "
                f"{self.distance[0]:.3f} [{self.distance[1]:.3f}, {self.distance[2]:.3f}] away (chance {self.chance:.3f}), depth "
                f"{self.depth:.2f}: {self.verdict}")


@dataclass(frozen=True)
class EnergyReport:
    """What the energy check found; prints itself. Costs are shares of the present frame's distance from the goal: 1 is doing nothing.

    offsets (A, K) from the true action; curves (B, A, K) costs along each axis; planes: costs (B, L, L) over two axes, by their
    numbers; beats_zero, beats_random (B) whether the true action costs less than the zero action and the best of RANDOM random ones;
    below_random (B) the share of those that cost more; `steps` the robot's steps between the two moments of a pair.
    """

    robot: RobotSpec
    steps: int
    episodes: int
    offsets: np.ndarray
    curves: np.ndarray
    planes: dict[tuple[int, int], np.ndarray]
    beats_zero: np.ndarray
    beats_random: np.ndarray
    below_random: np.ndarray
    picture: Path
    seed: int

    @cached_property
    def axes(self) -> list[Axis]:
        middle = CURVE // 2
        found = []
        for a, (name, unit) in enumerate(zip(self.robot.names, self.robot.units, strict=True)):
            at = self.offsets[a][self.curves[:, a].argmin(axis=1)]
            grid = float(self.offsets[a, middle + 1])
            found.append(Axis(name, unit, bootstrap_mean(at, self.seed), bootstrap_mean(np.abs(at), self.seed),
                              float(np.abs(self.offsets[a]).mean()), float(np.ptp(self.curves[:, a], axis=1).mean()), grid))
        return found

    @property
    def trouble(self) -> bool:
        """Whether the model is no guide here: the true action does not surely beat doing nothing, or the cost has no minimum at it
        along some axis of the position."""
        place = self.axes[self.robot.position]
        return self._share(self.beats_zero)[1] <= 0.5 or any(axis.verdict != "at the true action" for axis in place)

    def _share(self, values: np.ndarray) -> tuple[float, float, float]:
        return bootstrap_mean(values.astype(np.float64), self.seed)

    def __str__(self) -> str:
        def share(values: np.ndarray) -> str:
            mean, low, high = self._share(values)
            return f"{mean:.0%} [{low:.0%}, {high:.0%}]"

        few = "" if len(self.beats_zero) > 4 else "; too few for intervals that mean anything"
        return "\n".join([
            f"energy of {self.robot.name} through {self.robot.camera}: {len(self.beats_zero)} pairs of moments {self.steps} steps apart, "
            f"of {self.episodes} episodes{few}", *(f"  {axis}" for axis in self.axes),
            f"  the true action beats zero action in {share(self.beats_zero)} of the pairs, the best of {RANDOM} random ones in "
            f"{share(self.beats_random)}, and {share(self.below_random)} of the random ones",
            f"  picture: {self.picture}"])


def energy_check(log: Path, robot: Path, checkpoint: Path, out: Path, *, episodes: int = 32, seed: int = 0,
                 camera: str | None = None) -> EnergyReport:
    """Costs of actions around the true one, on moments of episodes that `lamplan fit` holds out, as a planner sees them.

    The true action is the robot's motion (see `path_of`) between two moments as many steps apart as one imagined step of the model may
    stand for (a planner's greatest stride), or as the log has. At most `episodes` pairs of moments; of a log with fewer held-out episodes,
    several of each. Writes `out/energy.png`. Raises DataError where the log is not of this robot.
    """
    lam, spec = LatentActionModel.load(checkpoint), RobotSpec.load(robot, camera)
    every = episodes_of([log], spec)
    if not every:
        raise DataError(f"{log} holds no episode to check on.")
    chosen = [every[i] for i in (split(len(every)).test if len(every) > 1 else range(len(every)))]
    steps = min(lam.config.max_stride, min(map(len, chosen)) - 1)
    dynamics = LatentDynamics(lam, load_controller(robot, checkpoint, lam, spec))
    return energy_of(dynamics, spec, chosen, steps, out, count=episodes, seed=seed)


@torch.inference_mode()
def energy_of(dynamics: Dynamics, spec: RobotSpec, chosen: Sequence[Episode], steps: int, out: Path, *, count: int,
              seed: int) -> EnergyReport:
    """The check of any dynamics whose one action is the motion of `steps` steps of the robot."""
    moments, rng, costs = _moments(chosen, steps, count), np.random.default_rng(seed), []
    reach = REACH * (spec.high - spec.low) / 2 * steps
    offsets = np.linspace(-reach, reach, CURVE, axis=1)
    pairs = [(a, b) for b in range(3) for a in range(b)]
    for episode, t in tqdm(moments, desc=f"energy of {spec.name}", unit="pair", dynamic_ncols=True):
        true = spec.differences(path_of(episode, spec)[[t, t + steps]])[0]
        drawn = rng.uniform(spec.low * steps, spec.high * steps, (RANDOM, spec.action_dim))
        images = torch.from_numpy(np.ascontiguousarray(episode.frames(spec.camera, np.array([t, t + steps]))))
        costs.append(_costs(dynamics, dynamics.encode(images.to(dynamics.device)), _candidates(true, drawn, offsets, pairs, reach)))
    at_true, at_zero, at_drawn, curves, planes = np.split(np.stack(costs), np.cumsum([1, 1, RANDOM, spec.action_dim * CURVE]), axis=1)
    landscapes = planes.reshape(len(moments), len(pairs), PLANE, PLANE).swapaxes(0, 1)
    report = EnergyReport(spec, steps, len({episode.source for episode, _ in moments}), offsets,
                          curves.reshape(len(moments), spec.action_dim, CURVE), dict(zip(pairs, landscapes, strict=True)),
                          (at_true < at_zero)[:, 0], (at_true < at_drawn).all(axis=1), (at_true < at_drawn).mean(axis=1),
                          out / "energy.png", seed)
    plot_energy(report.offsets, report.curves, report.planes, spec.names, spec.units, report.picture)
    return report


def _moments(chosen: Sequence[Episode], steps: int, count: int) -> list[tuple[Episode, int]]:
    """At most `count` pairs of moments, by their first step: the same number of each episode, spread over it."""
    picked = [chosen[i] for i in np.unique(np.linspace(0, len(chosen) - 1, min(count, len(chosen))).round().astype(int))]
    each = max(1, count // len(picked))
    return [(episode, int(t)) for episode in picked
            for t in np.unique(np.linspace(0, len(episode) - steps - 1, min(each, len(episode) - steps)).round().astype(int))]


def _candidates(true: np.ndarray, drawn: np.ndarray, offsets: np.ndarray, pairs: Sequence[tuple[int, int]],
                reach: np.ndarray) -> np.ndarray:
    """Actions (N, A): the true one, none, the drawn ones, those beside the true one along each axis, and over each pair of axes."""
    parts = [true[None], np.zeros_like(true)[None], drawn]
    for axis, line in enumerate(offsets):
        moved = np.repeat(true[None], CURVE, axis=0)
        moved[:, axis] += line
        parts.append(moved)
    for a, b in pairs:
        moved = np.repeat(true[None], PLANE * PLANE, axis=0)
        grids = np.meshgrid(np.linspace(-reach[a], reach[a], PLANE), np.linspace(-reach[b], reach[b], PLANE), indexing="ij")
        moved[:, [a, b]] += np.stack([grid.ravel() for grid in grids], axis=1)
        parts.append(moved)
    return np.concatenate(parts)


def _costs(dynamics: Dynamics, seen: Tensor, actions: np.ndarray) -> np.ndarray:
    """The planner's cost (N) of one imagined step from the first of two frames (2, P, D) to the second, a share of their distance."""
    cost, past, goals = GoalCost(), dynamics.start(seen[None, :1]), Goals(seen[None, 1:])
    candidates = torch.from_numpy(actions).float().to(seen.device)[None, :, None]
    found = costs_of(dynamics, past, candidates, lambda frames, pick: cost(frames, goals.episodes(pick)), IN_FLIGHT)[0]
    return (found / cost.now(past.present, goals, steps=1).clamp_min(1e-12)).cpu().double().numpy()
