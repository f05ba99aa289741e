"""The controller: which latent action does this robot's real action amount to, seen from here? And the way back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lamplan.models.layers import Block, CrossAttention, grid_positions, rope_tables

Context = tuple[Tensor, ...]  # keys and values


@dataclass(frozen=True)
class ControllerConfig:
    width: int = 128
    depth: int = 2  # self-attention blocks on the representation, paper appendix A
    heads: int = 4


class Reader(nn.Module):
    """A vector, embedded, reads from the tokens of a frame and becomes another vector."""

    def __init__(self, width: int, heads: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.embed = nn.Sequential(nn.Linear(in_dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.query_norm = nn.LayerNorm(width, eps=1e-6)
        self.cross = CrossAttention(width, heads)
        self.mlp = nn.Sequential(nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.head = nn.Linear(width, out_dim)

    def context(self, tokens_BPD: Tensor) -> Context:
        """Keys and values (B, h, P, d), shared by every vector that reads from these tokens."""
        return self.cross.keys_values(self.norm(tokens_BPD))

    def forward(self, x_BNI: Tensor, context: Context) -> Tensor:
        """(B, N, in) to (B, N, out): N vectors each read from their B contexts, in the precision of the weights."""
        x = self.embed(x_BNI.to(self.head.weight.dtype))
        x = x + self.cross(self.query_norm(x), context)
        return self.head(x + self.mlp(x))


class Controller(nn.Module):
    """(real action, s_t) to z_t: self-attention over the tokens of s_t, then the embedded action reads from them.

    Latent actions are relative to the camera, so an action alone cannot tell its latent (paper figure S13). The same tokens serve
    the way back, (z, s_t) to the real action: with the latent that the inverse dynamics model infers between here and a goal,
    it proposes where to begin a search. `gain` (A), 0 to 1, is how much of each number that is read back to believe, as of a goal
    regression; `proposal_spread` (A) is how far such a proposal lies from the truth on held-out episodes, as a standard deviation in the
    action's units. `latent_mean` (Z) and `latent_basis` (Z, Z) describe the latents inferred from the robot's logs: mean + basis @ u, with
    u of unit covariance.
    """

    cos: Tensor
    sin: Tensor
    action_mean: Tensor
    action_scale: Tensor
    gain: Tensor
    proposal_spread: Tensor
    latent_mean: Tensor
    latent_basis: Tensor

    def __init__(self, config: ControllerConfig, feature_dim: int, side: int, action_dim: int, latent_dim: int) -> None:
        super().__init__()
        width = config.width
        self.embed = nn.Linear(feature_dim, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.to_latent = Reader(width, config.heads, action_dim, latent_dim)
        self.to_action = Reader(width, config.heads, latent_dim, action_dim)
        cos, sin = rope_tables(grid_positions(1, side), width // config.heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("action_mean", torch.zeros(action_dim))
        self.register_buffer("action_scale", torch.ones(action_dim))
        self.register_buffer("gain", torch.ones(action_dim))
        self.register_buffer("proposal_spread", torch.ones(action_dim))
        self.register_buffer("latent_mean", torch.zeros(latent_dim))
        self.register_buffer("latent_basis", torch.eye(latent_dim))

    def tokens(self, s_BPD: Tensor) -> Tensor:
        """What both ways read from: tokens (B, P, width) of a frame's features."""
        x = self.embed(s_BPD)
        for block in self.blocks:
            x = block(x, (self.cos, self.sin))
        return x

    def context(self, s_BPD: Tensor) -> Context:
        """What the action reads from: keys and values (B, h, P, d), shared by every action tried from s (B, P, D)."""
        return self.to_latent.context(self.tokens(s_BPD))

    def latents(self, context: Context, actions_BNA: Tensor) -> Tensor:
        """Latents (B, N, Z) of N real actions (B, N, A) tried from each of B contexts."""
        return self.to_latent((actions_BNA - self.action_mean) / self.action_scale, context)

    def both(self, s_BPD: Tensor, actions_BA: Tensor, latents_BZ: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, Z) of actions and actions (B, A) of latents, both seen from s (B, P, D), whose tokens they share, and all of both
        believed."""
        tokens = self.tokens(s_BPD)
        return (self.latents(self.to_latent.context(tokens), actions_BA[:, None])[:, 0],
                self.to_action(latents_BZ[:, None], self.to_action.context(tokens))[:, 0] * self.action_scale)

    def actions(self, s_BPD: Tensor, latents_BNZ: Tensor) -> Tensor:
        """Real actions (B, N, A) that latents (B, N, Z) amount to, seen from s (B, P, D). Not clipped: a latent inferred over
        several steps amounts to a motion that takes several."""
        return self.to_action(latents_BNZ, self.to_action.context(self.tokens(s_BPD))) * (self.action_scale * self.gain)

    @property
    def reach(self) -> Tensor:
        """How far a search should look around a proposal (A), as of a goal regression."""
        return self.proposal_spread * self.gain.square()

    def forward(self, s_BPD: Tensor, actions_BA: Tensor) -> Tensor:
        """Latents (B, Z) of one action (B, A) for each s (B, P, D)."""
        return self.latents(self.context(s_BPD), actions_BA[:, None])[:, 0]
