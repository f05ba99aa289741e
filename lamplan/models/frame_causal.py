"""Which tokens see which in a clip: those of a frame see all of that frame and of a few frames before it.

Said in three ways, of which each device and length has its own: a mask, in which the pairs that do not see each other are computed and
thrown away; frame by frame, without them; and FlexAttention's blocks, one fused kernel without them, for accelerators.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from lamplan.models.plain import is_plain

FEW_SCORES = 2**18
"""Per head: 512 tokens that attend to as many. Of more, the scores would not stay in a core's cache, nor many of them in memory."""


BACKWARDS = {"bwd_BLOCK_M1": 64, "bwd_BLOCK_N1": 64, "bwd_BLOCK_M2": 64, "bwd_BLOCK_N2": 64, "bwd_num_warps": 4, "bwd_num_stages": 3}
"""Tiles of FlexAttention's way back: for heads of 64 numbers a little faster on an H200 than those that torch takes by itself."""


class Frames(NamedTuple):
    """A clip's tokens in line, `patches` of each frame; a frame sees the last `context` frames, itself among them."""

    patches: int
    context: int


Seen = Tensor | Frames | BlockMask
"""A mask (L, L), true where a query sees a key, or the same without one."""


def frame_causal(frames: int, patches: int, context: int, device: torch.device) -> Seen | None:
    """How the tokens of a clip see each other, as suits its length and the device; None where all see all."""
    if frames == 1:
        return None
    length = frames * patches
    if length**2 <= FEW_SCORES:
        frame = torch.arange(length, device=device) // patches
        age = frame[:, None] - frame
        return (age >= 0) & (age < context)
    fused = device.type == "cuda" and not is_plain()
    return _blocks(frames, patches, context, device) if fused else Frames(patches, context)


@functools.lru_cache(maxsize=8)
def _blocks(frames: int, patches: int, context: int, device: torch.device) -> BlockMask:
    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        age = query // patches - key // patches
        return (age >= 0) & (age < context)

    with torch.inference_mode(False):  # it is kept, and may be used where gradients are
        return create_block_mask(sees, None, None, frames * patches, frames * patches, device=device)


@functools.cache
def _fused() -> Any:
    return torch.compile(flex_attention, dynamic=False)


def by_blocks(q: Tensor, k: Tensor, v: Tensor, seen: BlockMask) -> Tensor:
    """Attention (B, h, L, d) in one fused kernel, which is compiled: with what is around it or by itself."""
    attention = flex_attention if torch.compiler.is_compiling() else _fused()
    return attention(q, k, v, block_mask=seen, kernel_options=BACKWARDS)


def by_frames(q: Tensor, k: Tensor, v: Tensor, seen: Frames) -> Tensor:
    """Attention (B, h, L, d), one frame of queries after another."""
    parts = []
    for end in range(seen.patches, q.shape[2] + 1, seen.patches):
        keys = slice(max(0, end - seen.context * seen.patches), end)
        parts.append(F.scaled_dot_product_attention(q[:, :, end - seen.patches : end], k[:, :, keys], v[:, :, keys]))
    return torch.cat(parts, dim=2)
