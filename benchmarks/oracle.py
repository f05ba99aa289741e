"""The oracle: the same search and the same cost, but the simulator itself in place of a world model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.policies import Decision, Situation
from benchmarks.shapes import Shape
from lamplan.costs import GoalCost, Goals
from lamplan.robot import RobotSpec
from lamplan.search import Search, SearchSpace, box


class Oracle:
    """Tries candidates in the simulator and compares the encoded final picture with the encoded goal.

    What keeps it from a perfect score is its budget and how well feature distance orders pictures, not a model's error. Of a shaped plan it
    tries the motion that the planners imagine: a wheeled robot told to slide sideways would not move at all.
    """

    name = "oracle"

    def __init__(self, encode: Callable[[np.ndarray], np.ndarray], robot: RobotSpec, search: Search, shape: Shape | None,
                 steps: int, cost: GoalCost | None = None) -> None:
        self.encode, self.robot, self.search, self.shape, self.steps = encode, robot, search, shape, steps
        self.far = cost or GoalCost()

    def reset(self) -> None:
        pass

    def decide(self, situation: Situation) -> Decision:
        goals = self.encode(situation.goals)
        return Decision(np.stack([self._plan(situation, b, goals[b]) for b in range(len(goals))]))

    def _plan(self, situation: Situation, b: int, goal: np.ndarray) -> np.ndarray:
        world = situation.world(b).unwrapped
        low, high, mean, std = (torch.as_tensor(v, dtype=torch.float32)
                                for v in (self.robot.low, self.robot.high, self.robot.prior_mean, self.robot.prior_std))

        def cost(actions: Tensor) -> Tensor:
            tried = actions[0] if self.shape is None else self.shape.driven(actions[0], self.steps, self.steps)
            observations, _ = world.simulate(tried.double().numpy())
            seen = self.encode(np.stack([observation[self.robot.camera] for observation in observations]))
            distance = self.far(torch.from_numpy(seen).float()[None, :, None], Goals(torch.from_numpy(goal).float()[None, None]))
            if situation.constraint is None:
                return distance
            # The constraint knows all episodes of the situation; this search is about one of them.
            everyone = actions.expand(len(situation.images), *actions.shape[1:])
            return distance + situation.constraint(everyone)[b : b + 1]

        space = SearchSpace(box(low, high), mean.expand(1, self.search.horizon, -1), std)
        found = self.search.minimise(cost, space, torch.Generator().manual_seed(situation.seed + b))
        plan = found.actions if self.shape is None else self.shape.spread(found.actions, self.steps)
        return self.robot.clip(plan[0].double().numpy())
