"""The frozen eye: images or clips to patch features. One ViT for the small shipped model and for V-JEPA 2 and 2.1 of every size.

Shapes: B batch, T frames, S steps (one or two frames each), P patches of a step, L = S·P tokens, C values of a token, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lamplan.errors import InputError
from lamplan.models.frame_causal import frame_causal
from lamplan.models.layers import Block, at, rope_tables, rotate
from lamplan.models.rope import clip_positions, neighbour_tables, rotate_neighbours
from lamplan.weights import later

Mode = Literal["doubled", "pairs", "causal"]
"""What a step of a clip is.

doubled: each frame by itself, repeated to fill the tubelet, the variant that measured best for frozen JEPA encoders at control time
(JEPA-WMs, arXiv 2512.24497, appendix B) and the one that needs no frame before the first; pairs: each two consecutive frames by
themselves; causal: pairs of frames that attend to themselves and the pairs before them in the clip (the paper's frame-causal encoder,
for weights that were trained with full attention a change of what they see).
"""
Grid = tuple[int, int, int]
"""Steps, rows and columns of patches."""


@dataclass(frozen=True)
class EncoderConfig:
    image_size: int = 128  # px, square
    patch: int = 16  # px
    width: int = 192
    depth: int = 4
    heads: int = 6
    mlp_ratio: float = later(4.0)
    tubelet: int = later(1)  # frames that make a token
    rope: Literal["halves", "repeat", "interleaved"] = later("halves")  # ours, V-JEPA 2's, V-JEPA 2.1's: models/rope.py
    rope_grid: int | None = later(None)  # patches along an edge that positions are stretched to (V-JEPA 2.1: 16)
    video_embedding: bool = later(False)  # a vector added to every token of video (V-JEPA 2.1)
    mode: Mode = later("doubled")  # noqa: RUF009  it is a field()

    @property
    def side(self) -> int:
        """Patches along one edge."""
        return self.image_size // self.patch

    @property
    def token_values(self) -> int:
        """Numbers that one token is made from: tubelet · patch · patch · 3."""
        return 3 * self.tubelet * self.patch**2

    @property
    def step_frames(self) -> int:
        """Frames of video that one step of features stands for."""
        return 1 if self.mode == "doubled" else self.tubelet


class Encoder(nn.Module):
    """uint8 images (B, H, W, 3) to standardised features (B, P, D), each image by itself; `clip` takes clips in the mode of its
    configuration.

    Height and width may be any multiples of the patch: positions follow the real grid. `feature_mean` and `feature_std` (D) are
    measured once on the training video after the encoder is frozen: with every channel at unit variance one weight of the latent's
    KL term fits any encoder.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    feature_mean: Tensor
    feature_std: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        check(config)
        self.config = config
        self.patches = nn.Linear(config.token_values, config.width)
        rotation = rotate if config.rope == "halves" else rotate_neighbours
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio, rotation) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.video = nn.Parameter(torch.zeros(config.width)) if config.video_embedding else None
        cos, sin = self._tables((1, config.side, config.side))
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("pixel_mean", torch.tensor([0.485, 0.456, 0.406]) * 255, persistent=False)
        self.register_buffer("pixel_std", torch.tensor([0.229, 0.224, 0.225]) * 255, persistent=False)
        self.register_buffer("feature_mean", torch.zeros(config.width))
        self.register_buffer("feature_std", torch.ones(config.width))

    def grid(self, images: Tensor) -> Grid:
        """The grid of images (B, H, W, 3), one step, or of clips (B, T, H, W, 3), or a sentence that says what does not fit."""
        c = self.config
        height, width = images.shape[-3:-1]
        frames = images.shape[1] if images.ndim == 5 else c.tubelet
        if images.ndim not in (4, 5) or images.shape[-1] != 3 or height % c.patch or width % c.patch or frames % c.tubelet:
            raise InputError(f"the encoder takes images (B, H, W, 3) or clips (B, T, H, W, 3) with H and W multiples of {c.patch} px and "
                             f"T one of {c.tubelet} frames, found {tuple(images.shape)}.")
        return frames // c.tubelet, height // c.patch, width // c.patch

    def patchify(self, images: Tensor) -> Tensor:
        """Normalised pixels (B, L, tubelet·patch·patch·3) of uint8 images (B, H, W, 3), each doubled to fill a tubelet, or of clips
        (B, T, H, W, 3): the one place where images are normalised."""
        steps, rows, columns = self.grid(images)
        x = (images.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        if x.ndim == 4:
            x = x[:, None].expand(-1, self.config.tubelet, -1, -1, -1)
        x = x.unflatten(3, (columns, -1)).unflatten(2, (rows, -1)).unflatten(1, (steps, -1))
        # B, step, frame, row, y, column, x, colour
        return x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4).flatten(1, 3)

    def tokens(self, pixels_BLC: Tensor, keep_BK: Tensor | None = None, grid: Grid | None = None, causal: bool = False) -> Tensor:
        """Features before standardisation, of all tokens or of those at the indices `keep_BK` alone.

        `grid` is the tokens' own where it is not one step of the native size. All attend to all (as V-JEPA 2 was trained) unless
        `causal`: then those of a step to that step and the ones before it.
        """
        native = grid is None or grid == (1, self.config.side, self.config.side)
        cos, sin = (self.cos, self.sin) if native else self._tables(grid)  # type: ignore[arg-type]
        mask = frame_causal(grid[0], grid[1] * grid[2], grid[0], cos.device) if causal and grid is not None else None
        if keep_BK is not None:
            pixels_BLC = at(pixels_BLC, keep_BK)
            cos, sin = cos[keep_BK][:, None], sin[keep_BK][:, None]
        x = self.patches(pixels_BLC)
        if self.video is not None:
            x = x + self.video
        for block in self.blocks:
            x = block(x, (cos, sin), mask)
        return self.norm(x)

    def clip_tokens(self, frames_BTHWC: Tensor) -> Tensor:
        """Features (B, S, P, D) of clips before standardisation, in the configuration's mode."""
        x = self._grouped(frames_BTHWC)
        grid = self.grid(x)
        features = self.tokens(self.patchify(x), grid=grid, causal=self.config.mode == "causal")
        return features.reshape(len(frames_BTHWC), -1, grid[1] * grid[2], self.config.width)

    def clip_pixels(self, frames_BTHWC: Tensor) -> Tensor:
        """Normalised pixels (B, S, P, C) of clips, those that each token of `clip_tokens` is made from."""
        x = self._grouped(frames_BTHWC)
        _, rows, columns = self.grid(x)
        return self.patchify(x).reshape(len(frames_BTHWC), -1, rows * columns, self.config.token_values)

    def _grouped(self, frames_BTHWC: Tensor) -> Tensor:
        """Frames of clips as `tokens` takes them together: single ones, pairs, or whole clips."""
        c, frames = self.config, frames_BTHWC.shape[1]
        if frames % c.step_frames:
            raise InputError(f"mode '{c.mode}' encodes clips of a multiple of {c.step_frames} frames, found {frames}.")
        if c.mode == "doubled":
            return frames_BTHWC.flatten(0, 1)
        return frames_BTHWC.unflatten(1, (-1, c.tubelet)).flatten(0, 1) if c.mode == "pairs" else frames_BTHWC

    def clip(self, frames_BTHWC: Tensor) -> Tensor:
        """Standardised features (B, S, P, D) of uint8 clips (B, T, H, W, 3), S being T / step_frames."""
        return self.standardised(self.clip_tokens(frames_BTHWC))

    def forward(self, images_BHWC: Tensor) -> Tensor:
        return self.standardised(self.tokens(self.patchify(images_BHWC), grid=self.grid(images_BHWC)))

    def standardised(self, x: Tensor) -> Tensor:
        """Features (..., D) with their mean and deviation taken out, channel by channel."""
        return (x - self.feature_mean) / self.feature_std

    def _tables(self, grid: Grid) -> tuple[Tensor, Tensor]:
        c = self.config
        device, head = self.norm.weight.device, c.width // c.heads
        positions = clip_positions(*grid, c.rope_grid).to(device)
        return rope_tables(positions, head) if c.rope == "halves" else neighbour_tables(positions, head, tiled=c.rope == "repeat")


def check(config: EncoderConfig) -> None:
    """Raises InputError unless the sizes fit each other."""
    if config.image_size % config.patch or config.width % config.heads:
        raise InputError(f"image_size {config.image_size} must be a multiple of patch {config.patch}, "
                         f"width {config.width} one of heads {config.heads}.")
    if config.width // config.heads % 2 or config.tubelet < 1:
        raise InputError(f"width / heads = {config.width // config.heads} must be even, and tubelet {config.tubelet} at least 1.")
    for name, value, known in (("rope", config.rope, ("halves", "repeat", "interleaved")),
                               ("mode", config.mode, ("doubled", "pairs", "causal"))):
        if value not in known:
            raise InputError(f"the encoder's {name} is '{value}', expected one of {', '.join(known)}.")
    if config.mode != "doubled" and config.tubelet == 1:
        raise InputError(f"mode '{config.mode}' is for encoders whose tokens span several frames; this one's tubelet is 1.")
