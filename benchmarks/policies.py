"""What a benchmark compares: anything that turns an image and a goal image into actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from lamplan.robot import RobotSpec

Constraint = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Situation:
    """B episodes in which a policy has to act now.

    `images` and `goals` are uint8 (B, H, W, 3). `constraint` adds a cost (B, N) to candidates (B, N, H, A).
    `world(b)` gives the simulator of episode b in its present state: only the oracle may use it.
    """

    images: np.ndarray
    goals: np.ndarray
    seed: int
    world: Callable[[int], Any]
    constraint: Constraint | None = None


@dataclass(frozen=True)
class Decision:
    """Actions (B, H, A) in the robot's units, and the features (B, P, D) of the last predicted frame if there are any."""

    actions: np.ndarray
    predicted: np.ndarray | None = None


class Policy(Protocol):
    """A row of a benchmark's table. The same situation gives the same decision."""

    name: str

    def reset(self) -> None:
        """Forgets everything about earlier episodes."""
        ...

    def decide(self, situation: Situation) -> Decision: ...


class Constant:
    """The same action at every step: zero, the prior's mean, or the mean of recorded behaviour."""

    def __init__(self, name: str, action: np.ndarray, horizon: int) -> None:
        self.name = name
        self.plan = np.repeat(np.asarray(action, dtype=np.float64)[None], horizon, axis=0)

    def reset(self) -> None:
        pass

    def decide(self, situation: Situation) -> Decision:
        return Decision(np.repeat(self.plan[None], len(situation.images), axis=0))


class Random:
    """Actions uniform within the robot's limits, drawn afresh for every step."""

    name = "random"

    def __init__(self, robot: RobotSpec, horizon: int) -> None:
        self.robot, self.horizon = robot, horizon

    def reset(self) -> None:
        pass

    def decide(self, situation: Situation) -> Decision:
        rng = np.random.default_rng(situation.seed)
        shape = (len(situation.images), self.horizon, self.robot.action_dim)
        return Decision(rng.uniform(self.robot.low, self.robot.high, size=shape))
