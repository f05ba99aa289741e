"""How far imagined frames are from where the robot should be.

Shapes: B episodes, N candidates, H steps, K goals, P patches, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lamplan.errors import InputError

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": lambda a, b: (a - b).square().mean((-1, -2)),
    "l1": lambda a, b: (a - b).abs().mean((-1, -2)),
    "cosine": lambda a, b: 1 - F.cosine_similarity(a, b, dim=-1).mean(-1),
}


@dataclass(frozen=True)
class AnyOf:
    """Goals of which any will do: `planner.plan(obs, AnyOf([left_shelf, right_shelf]))`."""

    goals: list[Any]


@dataclass(frozen=True)
class Goals:
    """Encoded goals (B, K, P, D). In a sequence goal k is to be reached after (k + 1) / K of the steps; else any one will do."""

    features: Tensor
    sequence: bool = True

    def __len__(self) -> int:
        return self.features.shape[1]

    def episodes(self, pick: slice) -> Goals:
        return Goals(self.features[pick], self.sequence)


@dataclass(frozen=True)
class GoalCost:
    """`distance` between features, `l2` (squared), `l1` or `cosine`; taken of the `last` step before each goal's time, or
    as the mean over `all` steps, each from the goal that is next."""

    distance: Literal["l2", "l1", "cosine"] = "l2"
    over: Literal["last", "all"] = "last"

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES or self.over not in ("last", "all"):
            raise InputError(f"a goal's cost has a distance of {', '.join(DISTANCES)}, over 'last' or 'all' steps; found {self}.")

    def __call__(self, frames: Tensor, goals: Goals) -> Tensor:
        """Costs (B, N) of imagined frames (B, N, H, P, D)."""
        far, steps, count = DISTANCES[self.distance], frames.shape[2], len(goals)
        if not goals.sequence:
            to_each = torch.stack([self(frames, Goals(goal[:, None])) for goal in goals.features.unbind(1)])
            return to_each.amin(0)
        if count > steps:
            raise InputError(f"{count} goals in a row for a plan of {steps} steps: give the next {steps} of them, or plan further.")
        due = [(k + 1) * steps // count - 1 for k in range(count)]
        at = due if self.over == "last" else range(steps)
        following = [next(k for k, last in enumerate(due) if last >= h) for h in at]
        return torch.stack([far(frames[:, :, h], goals.features[:, k, None]) for h, k in zip(at, following, strict=True)]).mean(0)

    def now(self, present: Tensor, goals: Goals, steps: int) -> Tensor:
        """Costs (B) of staying at the present frame (B, P, D) for so many steps."""
        return self(present[:, None, None].expand(-1, 1, steps, -1, -1), goals)[:, 0]
