"""Inverse dynamics: which latent action leads from s_t to s_{t+1}?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lamplan.models.layers import Block, grid_positions, rope_tables


@dataclass(frozen=True)
class InverseDynamicsConfig:
    width: int = 128
    depth: int = 3
    heads: int = 4


class InverseDynamicsModel(nn.Module):
    """A learned query attends to the tokens of both frames; what it has read becomes the bottleneck's parameters.

    The paper does not describe its inverse dynamics model. Here the tokens of the two frames at one place are joined
    into one (s_t, s_{t+1} - s_t): the same information in half the tokens, with the change in plain sight.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: InverseDynamicsConfig, feature_dim: int, side: int, out_dim: int) -> None:
        super().__init__()
        self.embed = nn.Linear(2 * feature_dim, config.width)
        self.query = nn.Parameter(torch.randn(config.width) * 0.02)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, out_dim)
        # The query stands at the centre of the grid, one step before the frame.
        centre = torch.tensor([[-1.0, (side - 1) / 2, (side - 1) / 2]])
        cos, sin = rope_tables(torch.cat([centre, grid_positions(1, side)]), config.width // config.heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, s_BPD: Tensor, s_next_BPD: Tensor) -> Tensor:
        """Bottleneck parameters (B, out_dim) of the transition from (B, P, D) to (B, P, D)."""
        x = self.embed(torch.cat([s_BPD, s_next_BPD - s_BPD], dim=-1))
        x = torch.cat([self.query.expand(len(x), 1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x, (self.cos, self.sin))
        return self.head(self.norm(x[:, 0]))
