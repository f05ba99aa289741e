"""The frozen eye: images to patch features, a ViT that looks at each frame by itself.

Each frame is encoded independently, the variant that measured best for frozen JEPA encoders at control time
(JEPA-WMs, arXiv 2512.24497, appendix B) and the one that needs no frame before the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lamplan.models.layers import Block, grid_positions, rope_tables


@dataclass(frozen=True)
class EncoderConfig:
    image_size: int = 128  # px, square
    patch: int = 16  # px
    width: int = 192
    depth: int = 4
    heads: int = 6

    @property
    def side(self) -> int:
        """Patches along one edge."""
        return self.image_size // self.patch


class Encoder(nn.Module):
    """uint8 images (B, H, W, 3) to standardised features (B, P, D).

    `feature_mean` and `feature_std` (D) are measured once on the training video after the encoder is frozen: with every
    channel at unit variance one weight of the latent's KL term fits any encoder.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    feature_mean: Tensor
    feature_std: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        if config.image_size % config.patch or config.width % config.heads:
            raise ValueError(f"image_size {config.image_size} must be a multiple of patch {config.patch}, "
                             f"width {config.width} one of heads {config.heads}.")
        self.config = config
        self.patches = nn.Linear(3 * config.patch**2, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        cos, sin = rope_tables(grid_positions(1, config.side), config.width // config.heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("pixel_mean", torch.tensor([0.485, 0.456, 0.406]) * 255, persistent=False)
        self.register_buffer("pixel_std", torch.tensor([0.229, 0.224, 0.225]) * 255, persistent=False)
        self.register_buffer("feature_mean", torch.zeros(config.width))
        self.register_buffer("feature_std", torch.ones(config.width))

    def patchify(self, images_BHWC: Tensor) -> Tensor:
        """Normalised pixels (B, P, patch·patch·3) of uint8 images, the one place where images are normalised."""
        c = self.config
        x = (images_BHWC.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        x = x.unflatten(1, (c.side, c.patch)).unflatten(3, (c.side, c.patch))
        return x.transpose(2, 3).flatten(3).flatten(1, 2)

    def tokens(self, pixels_BPC: Tensor, keep_BK: Tensor | None = None) -> Tensor:
        """Features before standardisation, of all patches or of those at the indices `keep_BK` alone."""
        cos, sin = self.cos, self.sin
        if keep_BK is not None:
            pixels_BPC = pixels_BPC.gather(1, keep_BK[..., None].expand(-1, -1, pixels_BPC.shape[-1]))
            cos, sin = cos[keep_BK][:, None], sin[keep_BK][:, None]
        x = self.patches(pixels_BPC)
        for block in self.blocks:
            x = block(x, (cos, sin))
        return self.norm(x)

    def forward(self, images_BHWC: Tensor) -> Tensor:
        return (self.tokens(self.patchify(images_BHWC)) - self.feature_mean) / self.feature_std
