"""A row that plans: `Planner` as a policy."""

from __future__ import annotations

import torch

from benchmarks.policies import Decision, Situation
from benchmarks.shapes import Shape
from lamplan.planner import Planner


class Planned:
    """Searches through a world model. With a shape, the one action that was found is spread over `steps` steps."""

    def __init__(self, name: str, planner: Planner, shape: Shape | None, steps: int) -> None:
        self.name, self.planner, self.shape, self.steps = name, planner, shape, steps

    def reset(self) -> None:
        self.planner.reset()

    def decide(self, situation: Situation) -> Decision:
        plan = self.planner.plan(situation.images, situation.goals, seed=situation.seed, constraint=situation.constraint)
        actions = plan.actions
        if self.shape is not None:
            actions = self.shape(torch.from_numpy(actions), self.steps).numpy()
        return Decision(actions, plan.predicted[:, -1])
