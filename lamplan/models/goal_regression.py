"""Goal-conditioned regression: (s_t, s_goal) straight to the motion between them, learned from a robot's own labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lamplan.models.inverse_dynamics import InverseDynamicsConfig, InverseDynamicsModel


class GoalRegression(nn.Module):
    """An inverse dynamics model whose output is the robot's own motion instead of a latent's parameters.

    What the bottleneck of a latent leaves out it can still read from the two frames, and what only labels tell. `begin_as` gives it all but
    the last layer of the inverse dynamics model that unlabelled video taught, from where it needs far fewer labels than from nothing.
    The displacement is the one action that would lead from here to the goal: for an arm the sum of the actions between, for a
    mobile robot the goal's pose in its own frame. It is learned in units of `scale` (A), the spread of the training data. `gain` (A), 0 to
    1, is how much of each number to believe: an angle or a gripper that it cannot see is better left as it is than guessed. `spread`
    (A) is how far it lies from the truth on held-out episodes at a plan's distance, as a standard deviation in the action's units.
    """

    scale: Tensor
    gain: Tensor
    spread: Tensor

    def __init__(self, config: InverseDynamicsConfig, feature_dim: int, side: int, action_dim: int) -> None:
        super().__init__()
        self.network = InverseDynamicsModel(config, feature_dim, side, action_dim)
        self.register_buffer("scale", torch.ones(action_dim))
        self.register_buffer("gain", torch.ones(action_dim))
        self.register_buffer("spread", torch.ones(action_dim))

    def begin_as(self, learned: InverseDynamicsModel) -> None:
        """Takes over the weights of a model of its own size, but for the last layer."""
        body = {name: weight for name, weight in learned.state_dict().items() if not name.startswith("head.")}
        self.network.load_state_dict(self.network.state_dict() | body)

    def forward(self, now_BPD: Tensor, goal_BPD: Tensor) -> Tensor:
        """Displacements (B, A) in the robot's units."""
        return self.network(now_BPD, goal_BPD) * (self.scale * self.gain)

    @property
    def reach(self) -> Tensor:
        """How far a search should look around a displacement (A): the spread, times the share of the variance of what is said that is
        right, which is the square of the gain.

        What two pictures do not tell this network, an angle of the hand or a gripper, the encoder's features hardly show either: a search
        that moved it at all would follow noise, and let go of what the hand holds.
        """
        return self.spread * self.gain.square()
