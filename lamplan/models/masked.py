"""Masked prediction: how the encoder learns from video without labels, in the manner of V-JEPA."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamplan.models.encoder import Encoder
from lamplan.models.layers import Block, at, grid_positions, rope_tables


@dataclass(frozen=True)
class MaskedConfig:
    target: Literal["features", "pixels"] = "pixels"
    width: int = 128  # predictor
    depth: int = 2
    heads: int = 4
    visible: float = 0.25  # share of each frame's patches that the encoder sees
    ema: float = 0.998  # momentum of the target encoder, features only


class MaskedPrediction(nn.Module):
    """Two frames a step apart, each encoded from a quarter of its patches; a predictor that sees both fills in the rest.

    The target is either the features of an exponential moving average of the encoder (V-JEPA), layer-normed, or the
    patch's own normalised pixels (as masked autoencoders do). The two frames' masks differ, so that the predictor has to
    find what moved where.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, encoder: Encoder, config: MaskedConfig) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        side = encoder.config.side
        self.patches = side * side
        self.teacher = copy.deepcopy(encoder).requires_grad_(False) if config.target == "features" else None
        out = encoder.config.width if config.target == "features" else encoder.config.token_values
        self.embed = nn.Linear(encoder.config.width, config.width)
        self.mask_token = nn.Parameter(torch.randn(config.width) * 0.02)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, out)
        cos, sin = rope_tables(grid_positions(2, side), config.width // config.heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def loss(self, images_B2HWC: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Smooth L1 at the hidden patches of uint8 frame pairs (B, 2, H, W, 3)."""
        pixels = self.encoder.patchify(images_B2HWC.flatten(0, 1))
        order = torch.rand(pixels.shape[:2], device=pixels.device).argsort(dim=1)
        keep, hidden = order.split([visible := round(self.patches * self.config.visible), self.patches - visible], dim=1)
        seen = self.embed(self.encoder.tokens(pixels, keep))
        canvas = self.mask_token.to(seen.dtype).expand(*pixels.shape[:2], -1).scatter(1, keep[..., None].expand_as(seen), seen)
        x = canvas.view(-1, 2 * self.patches, canvas.shape[-1])
        for block in self.blocks:
            x = block(x, (self.cos, self.sin))
        predicted = self.head(self.norm(at(x.view(*canvas.shape), hidden)))
        with torch.no_grad():
            target = pixels if self.teacher is None else self.teacher.tokens(pixels)
            target = F.layer_norm(at(target, hidden), target.shape[-1:])
        loss = F.smooth_l1_loss(predicted, target)
        return loss, {"masked": loss}

    @torch.no_grad()
    def update_target(self) -> None:
        """Moves the target encoder towards the encoder; called after each optimiser step."""
        if self.teacher is not None:
            for slow, fast in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
                slow.lerp_(fast, 1 - self.config.ema)
