"""Goal-conditioned regression as a row of its own: the cheap rival that planning has to beat."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.planned import read_in_views
from benchmarks.policies import Decision, Situation
from lamplan.lam import LatentActionModel
from lamplan.models.goal_regression import GoalRegression
from lamplan.robot import RobotSpec
from lamplan.views import views


class RegressionPolicy:
    """Heads straight for where the regression puts the goal; it cannot be told what to avoid."""

    name = "regression"

    def __init__(self, model: GoalRegression, lam: LatentActionModel, robot: RobotSpec, horizon: int, device: str) -> None:
        self.model, self.lam, self.robot, self.horizon, self.device = model.to(device), lam, robot, horizon, device

    def reset(self) -> None:
        pass

    @torch.inference_mode()
    def decide(self, situation: Situation) -> Decision:
        def encode(images: Tensor) -> Tensor:
            return self.lam.encode(views(self.lam.sized(images), self.robot.kind))

        moved = read_in_views(self.model, encode, situation, self.device)
        return Decision(np.repeat(self.robot.split(moved, self.horizon)[:, None], self.horizon, axis=1))
