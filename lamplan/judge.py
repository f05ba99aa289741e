"""What candidates cost: how far they are imagined to end from the goal, and what a user thinks of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lamplan.asked import answered
from lamplan.costs import GoalCost, Goals
from lamplan.pace import Deadline
from lamplan.rollout import Dynamics, Past, costs_of

Constraint = Callable[[Tensor], Tensor]
"""A user's cost (B, N) on candidates, added to their distance to the goal: on the actions (B, N, H, A) that the robot would be told, those
after an action that is running."""
FeatureCost = Callable[[Tensor], Tensor]
"""A user's cost (b, n) on what candidates would see, the imagined frames (b, n, H, P, D) of some of them, added likewise."""


@dataclass
class Judge:
    """Costs (B, N) of candidates (B, N, H, A), of as many as there is time for; `wish` is a constraint on them as they are searched.

    `in_flight` says how many are imagined at once, by whether a slope is asked for; `agreed` makes one number of those of all ranks.
    """

    dynamics: Dynamics
    past: Past
    goals: Goals
    distance: GoalCost
    feature_cost: FeatureCost | None
    wish: Constraint | None
    deadline: Deadline
    in_flight: dict[bool, int]
    agreed: Callable[[int], int]
    imagined: int = 0

    def __call__(self, actions: Tensor) -> Tensor:
        begun, self.imagined, at_once = time.perf_counter(), 0, self.in_flight[actions.requires_grad]
        costs = costs_of(self.dynamics, self.past, actions, self._portion, at_once,
                         lambda: self.agreed(self.deadline.time_for(at_once)) > 0)
        if self.deadline.seconds is not None and actions.shape[1] > 1:
            self.deadline.wait()
            self.deadline.pace.saw_candidates(self.imagined, time.perf_counter() - begun)
        return costs if self.wish is None else costs + self.wish(actions)

    def enough(self) -> bool:
        """Whether there is no time for another iteration of a search."""
        return self.agreed(not self.deadline.iteration_over()) == 0

    def portions(self, episodes: int) -> list[slice]:
        """The episodes in parts, a candidate of each of which may be imagined at once."""
        return [slice(begin, begin + self.in_flight[False]) for begin in range(0, episodes, self.in_flight[False])]

    def _portion(self, frames: Tensor, pick: slice) -> Tensor:
        far = self.distance(frames, self.goals.episodes(pick))
        self.imagined += far.numel()
        return far if self.feature_cost is None else far + answered("feature_cost", self.feature_cost(frames), far)
