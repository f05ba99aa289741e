"""Goal-conditioned regression: (s_t, s_goal) straight to the motion between them, learned from a robot's own labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lamplan.models.inverse_dynamics import InverseDynamicsConfig, InverseDynamicsModel


@dataclass(frozen=True)
class GoalRegressionConfig:
    width: int = 128
    depth: int = 4
    heads: int = 4


class GoalRegression(nn.Module):
    """A learned query reads the tokens of both frames, as in the inverse dynamics model, and gives the displacement.

    It knows nothing of a latent action: what the bottleneck of those left out it can still read from the two frames, and what only
    labels tell. The displacement is the one action that would lead from here to the goal: for an arm the sum of the actions between,
    for a mobile robot the goal's pose in its own frame. It is learned in units of `scale` (A), the spread of the training data; `spread`
    (A) is how far it lies from the truth on held-out episodes at a plan's distance, as a standard deviation in the action's units.
    """

    scale: Tensor
    spread: Tensor

    def __init__(self, config: GoalRegressionConfig, feature_dim: int, side: int, action_dim: int) -> None:
        super().__init__()
        self.network = InverseDynamicsModel(InverseDynamicsConfig(config.width, config.depth, config.heads), feature_dim, side, action_dim)
        self.register_buffer("scale", torch.ones(action_dim))
        self.register_buffer("spread", torch.ones(action_dim))

    def forward(self, now_BPD: Tensor, goal_BPD: Tensor) -> Tensor:
        """Displacements (B, A) in the robot's units."""
        return self.network(now_BPD, goal_BPD) * self.scale
