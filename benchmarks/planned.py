"""A row that plans: `Planner` as a policy."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.dynamics import Shaped
from benchmarks.policies import Decision, Situation
from benchmarks.shapes import Shape
from lamplan.planner import Planner
from lamplan.robot import RobotSpec
from lamplan.rollout import Dynamics


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
            actions = self.shape.spread(torch.from_numpy(actions), self.steps).numpy()
        return Decision(actions, plan.predicted[:, -1])


class Proposed:
    """What the latent inferred straight from here to the goal amounts to for the robot, divided among the steps; no search."""

    name = "proposal"

    def __init__(self, dynamics: Dynamics, robot: RobotSpec, steps: int) -> None:
        self.dynamics, self.robot, self.steps = dynamics, robot, steps

    def reset(self) -> None:
        pass

    @torch.inference_mode()
    def decide(self, situation: Situation) -> Decision:
        now, goal = (self.dynamics.encode(torch.from_numpy(images).to(self.dynamics.device))
                     for images in (situation.images, situation.goals))
        seen = self.dynamics.propose(self.dynamics.start(now[:, None]), goal)
        assert seen is not None  # built on a latent action model alone
        action = self.robot.split(seen.displacement.cpu().double().numpy(), self.steps)
        return Decision(np.repeat(action[:, None], self.steps, axis=1))


class Begun:
    """What a shaped search from proposals begins at; no search."""

    def __init__(self, name: str, dynamics: Shaped, searched: RobotSpec, shape: Shape, steps: int) -> None:
        self.name, self.dynamics, self.searched, self.shape, self.steps = name, dynamics, searched, shape, steps

    def reset(self) -> None:
        pass

    @torch.inference_mode()
    def decide(self, situation: Situation) -> Decision:
        now, goal = (self.dynamics.encode(torch.from_numpy(images).to(self.dynamics.device))
                     for images in (situation.images, situation.goals))
        seen = self.dynamics.propose(self.dynamics.start(now[:, None]), goal)
        assert seen is not None  # built on a latent action model alone
        action = torch.from_numpy(self.searched.clip(seen.displacement.cpu().double().numpy()))
        return Decision(self.shape.spread(action[:, None], self.steps).numpy())
