"""The controller: which latent action does this robot's real action amount to, seen from here?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lamplan.models.layers import Block, CrossAttention, grid_positions, rope_tables

Context = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class ControllerConfig:
    width: int = 128
    depth: int = 2  # self-attention blocks on the representation, paper appendix A
    heads: int = 4


class Controller(nn.Module):
    """(real action, s_t) to z_t: self-attention over the tokens of s_t, then the embedded action reads from them.

    Latent actions are relative to the camera, so an action alone cannot tell its latent (paper figure S13).
    """

    cos: Tensor
    sin: Tensor
    action_mean: Tensor
    action_scale: Tensor

    def __init__(self, config: ControllerConfig, feature_dim: int, side: int, action_dim: int, latent_dim: int) -> None:
        super().__init__()
        width = config.width
        self.embed = nn.Linear(feature_dim, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.memory_norm = nn.LayerNorm(width, eps=1e-6)
        self.action = nn.Sequential(nn.Linear(action_dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.query_norm = nn.LayerNorm(width, eps=1e-6)
        self.cross = CrossAttention(width, config.heads)
        self.mlp = nn.Sequential(nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.head = nn.Linear(width, latent_dim)
        cos, sin = rope_tables(grid_positions(1, side), width // config.heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("action_mean", torch.zeros(action_dim))
        self.register_buffer("action_scale", torch.ones(action_dim))

    def context(self, s_BPD: Tensor) -> Context:
        """What the action reads from: keys and values (B, h, P, d), shared by every action tried from s (B, P, D)."""
        x = self.embed(s_BPD)
        for block in self.blocks:
            x = block(x, (self.cos, self.sin))
        return self.cross.keys_values(self.memory_norm(x))

    def latents(self, context: Context, actions_BNA: Tensor) -> Tensor:
        """Latents (B, N, Z) of N real actions (B, N, A) tried from each of B contexts."""
        x = self.action((actions_BNA - self.action_mean) / self.action_scale)
        x = x + self.cross(self.query_norm(x), context)
        return self.head(x + self.mlp(x))

    def forward(self, s_BPD: Tensor, actions_BA: Tensor) -> Tensor:
        """Latents (B, Z) of one action (B, A) for each s (B, P, D)."""
        return self.latents(self.context(s_BPD), actions_BA[:, None])[:, 0]
