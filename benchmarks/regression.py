"""Goal-conditioned regression: (here, goal) to the way between them. The cheap rival that planning has to beat."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.policies import Decision, Situation
from lamplan.lam import LatentActionModel
from lamplan.models.inverse_dynamics import InverseDynamicsConfig, InverseDynamicsModel
from lamplan.robot import RobotSpec
from lamplan.weights import build, load_weights, read_config, save_folder

KIND = "goal regression"


@dataclass(frozen=True)
class RegressionConfig:
    feature_dim: int
    side: int
    action_dim: int
    width: int = 128
    depth: int = 4
    heads: int = 4


class GoalRegression(nn.Module):
    """A learned query reads the tokens of both frames, as in the inverse dynamics model, and gives the displacement.

    The displacement is the one action that would lead from here to the goal: for an arm the sum of the actions between, for a
    mobile robot the goal's pose in its own frame. It is learned in units of `scale` (A), the spread of the training data.
    """

    scale: Tensor

    def __init__(self, config: RegressionConfig) -> None:
        super().__init__()
        self.config = config
        body = InverseDynamicsConfig(config.width, config.depth, config.heads)
        self.network = InverseDynamicsModel(body, config.feature_dim, config.side, config.action_dim)
        self.register_buffer("scale", torch.ones(config.action_dim))

    def forward(self, now_BPD: Tensor, goal_BPD: Tensor) -> Tensor:
        """Displacements (B, A) in the robot's units."""
        return self.network(now_BPD, goal_BPD) * self.scale

    def save(self, folder: Path) -> None:
        save_folder(folder, KIND, asdict(self.config), self)

    @classmethod
    def load(cls, folder: Path) -> GoalRegression:
        fields = {key: value for key, value in read_config(folder, KIND).items() if key not in ("format", "kind")}
        model = cls(build(RegressionConfig, fields, folder))
        load_weights(folder, model)
        return model.eval().requires_grad_(False)


class RegressionPolicy:
    """Heads straight for where the regression puts the goal; it cannot be told what to avoid."""

    name = "regression"

    def __init__(self, model: GoalRegression, lam: LatentActionModel, robot: RobotSpec, horizon: int, device: str) -> None:
        self.model, self.lam, self.robot, self.horizon, self.device = model.to(device), lam, robot, horizon, device

    def reset(self) -> None:
        pass

    @torch.inference_mode()
    def decide(self, situation: Situation) -> Decision:
        now, goal = (self.lam.encode(torch.from_numpy(np.ascontiguousarray(images)).to(self.device))
                     for images in (situation.images, situation.goals))
        moved = self.model(now, goal).double().cpu().numpy()
        return Decision(np.repeat(self.robot.split(moved, self.horizon)[:, None], self.horizon, axis=1))
