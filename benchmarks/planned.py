"""A row that plans: `Planner` as a policy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.policies import Decision, Situation
from benchmarks.shapes import Shape
from lamplan.planner import Planner
from lamplan.robot import RobotSpec
from lamplan.rollout import Dynamics
from lamplan.views import views


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

    def decide(self, situation: Situation) -> Decision:
        action = self.robot.split(proposed(self.dynamics, self.robot, situation), self.steps)
        return Decision(np.repeat(action[:, None], self.steps, axis=1))


class Begun:
    """What a shaped search from proposals begins at; no search."""

    def __init__(self, name: str, dynamics: Dynamics, searched: RobotSpec, shape: Shape, steps: int) -> None:
        self.name, self.dynamics, self.searched, self.shape, self.steps = name, dynamics, searched, shape, steps

    def reset(self) -> None:
        pass

    def decide(self, situation: Situation) -> Decision:
        action = torch.from_numpy(self.searched.clip(proposed(self.dynamics, self.searched, situation)))
        return Decision(self.shape.spread(action[:, None], self.steps).numpy())


@torch.inference_mode()
def proposed(dynamics: Dynamics, robot: RobotSpec, situation: Situation) -> np.ndarray:
    """What the dynamics propose (B, A) between the images of a situation and its goals."""
    def read(now: Tensor, goal: Tensor) -> Tensor:
        seen = dynamics.propose(dynamics.start(now[:, None]), goal)
        assert seen is not None  # asked of a latent action model alone
        return seen.displacement

    def encode(images: Tensor) -> Tensor:
        return dynamics.encode(views(dynamics.trimmed(images[:, None])[:, 0], robot.kind))

    return read_in_views(read, encode, situation, dynamics.device)


def read_in_views(read: Callable[[Tensor, Tensor], Tensor], encode: Callable[[Tensor], Tensor], situation: Situation,
                  device: torch.device | str) -> np.ndarray:
    """The mean (B, A) of what is read from a situation's images and goals, of which `encode` says what they show in every view
    (V, B, P, D), as the planners read them."""
    now, goal = (encode(torch.from_numpy(np.ascontiguousarray(images)).to(device)).flatten(0, 1)
                 for images in (situation.images, situation.goals))
    return read(now, goal).unflatten(0, (-1, len(situation.images))).mean(0).cpu().double().numpy()
