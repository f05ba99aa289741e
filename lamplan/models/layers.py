"""Attention, rotary positions and the two kinds of transformer block that every network here is made of.

Shapes: B batch, L tokens, D width, T frames, P patches of a frame (L = T·P), h heads, d head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask

from lamplan.models.frame_causal import FEW_SCORES, Frames, Seen, by_blocks, by_frames

Rotation = Callable[[Tensor, tuple[Tensor, Tensor]], Tensor]
"""Turns queries or keys (..., L, d) by tables made for it."""


def grid_positions(frames: int, side: int, first_frame: int = 0) -> Tensor:
    """(frames·side·side, 3) positions (t, y, x) of the patches of a clip, frame by frame, row by row."""
    t = torch.arange(first_frame, first_frame + frames)
    yx = torch.arange(side)
    return torch.cartesian_prod(t, yx, yx).float()


def rope_tables(positions_L3: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (L, head_dim/2) of rotary positions over the three axes t, y, x.

    Each axis gets a third of the pairs; the pairs that remain are not rotated, as in V-JEPA 2.
    """
    pairs = head_dim // 6
    frequency = 10000.0 ** (-torch.arange(pairs, device=positions_L3.device) / pairs)
    angles = (positions_L3[:, :, None] * frequency).flatten(1)
    angles = F.pad(angles, (0, head_dim // 2 - angles.shape[1]))
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates the pairs (i, i + d/2) of every head (..., L, d) by its token's angles."""
    cos, sin = rope
    a, b = x.chunk(2, dim=-1)
    # Few passes over whole heads; products of halves are twice as many. Not addcmul, which rounds otherwise: features must not move.
    return x * torch.cat([cos, cos], dim=-1) + torch.cat([b, a], dim=-1) * torch.cat([-sin, sin], dim=-1)


def at(x_BLD: Tensor, index_BK: Tensor) -> Tensor:
    """The tokens (B, K, D) at these places."""
    return x_BLD.gather(1, index_BK[..., None].expand(-1, -1, x_BLD.shape[-1]))


KeyValue = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions and, on request, keys and values of earlier tokens."""

    def __init__(self, width: int, heads: int, rotation: Rotation = rotate) -> None:
        super().__init__()
        self.heads, self.rotation = heads, rotation
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, rope: tuple[Tensor, Tensor] | None = None, mask: Seen | None = None,
                past: KeyValue | None = None, shared: KeyValue | None = None) -> tuple[Tensor, KeyValue]:
        """Returns the output (B, L, D) and the keys and values (B, h, past + L, d) of the tokens of this row of the batch.

        `shared` are keys and values (B / N, h, M, d) that every N rows in a line have in common; they are attended to where they
        lie and not returned. A mask cannot go with them.
        """
        # In line before they are rotated: what follows takes up to three times as long on heads that lie between one another.
        qkv = self.qkv(x_BLD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).contiguous()
        # Tables in fp32 give heads in fp32 under autocast, which attention would then round by itself.
        q, k = qkv[:2] if rope is None else self.rotation(qkv[:2], rope).to(qkv.dtype)
        v = qkv[2]
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        if shared is None:
            out = attend(q, k, v, mask)
        else:
            out = attend_also(q, (k, v), shared)
        return self.proj(out.transpose(1, 2).flatten(2)), (k, v)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Seen | None) -> Tensor:
    """Attention (B, h, L, d) to keys and values (B, h, K, d); with a mask (L, K) to those where it is true."""
    if isinstance(mask, BlockMask):
        return by_blocks(q, k, v, mask)
    if isinstance(mask, Frames):
        return by_frames(q, k, v, mask)
    if not by_products(q, k.shape[2]):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    if mask is None and not torch.is_grad_enabled():
        weights = exponentials(q, k)
        return weights @ v / weights.sum(-1, keepdim=True)
    rows = [x.flatten(0, 1) for x in (q, k, v)]
    scores = torch.baddbmm(q.new_zeros(()), rows[0], rows[1].transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (scores.softmax(dim=-1) @ rows[2]).unflatten(0, q.shape[:2])


FARTHEST = 100.0
"""Scores, as powers of two, beyond which all count alike in `exponentials`: their sum stays finite and above zero."""


def exponentials(q: Tensor, k: Tensor) -> Tensor:
    """What queries (..., L, d) give to keys (..., K, d) before a sum makes shares of it. To look for the largest score first, as a softmax
    does, takes longer than this on a CPU."""
    scaled = q * (q.shape[-1] ** -0.5 / math.log(2))
    return (scaled @ k.transpose(-1, -2)).clamp_(-FARTHEST, FARTHEST).exp2_()


def by_products(q: Tensor, keys: int) -> bool:
    """For the tokens of a few frames a CPU's fused kernel is slower in bf16 than the products that it fuses, above all backwards."""
    return q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.shape[2] * keys <= FEW_SCORES


def attend_also(q_BhLd: Tensor, own: KeyValue, shared: KeyValue) -> Tensor:
    """Attention (B, h, L, d) to own keys and values (B, h, K, d) and to those (B / N, h, M, d) that every N rows share, without a copy.

    Each part is attended to by itself; the two answers are weighed by their sums of exponentials, which is exact. Where the scores are
    at hand anyway, one sum over those of both parts says the same.
    """
    groups, length = len(shared[0]), q_BhLd.shape[2]

    def joined(x: Tensor) -> Tensor:  # the rows of a group as one long query
        return x.unflatten(0, (groups, -1)).transpose(1, 2).flatten(2, 3)

    def apart(x: Tensor) -> Tensor:
        return x.unflatten(2, (-1, length)).transpose(1, 2).flatten(0, 1)

    if by_products(q_BhLd, own[0].shape[2] + shared[0].shape[2]):
        there, here = exponentials(joined(q_BhLd), shared[0]), exponentials(q_BhLd, own[0])
        total = apart(there.sum(-1, keepdim=True)) + here.sum(-1, keepdim=True)
        return (apart(there @ shared[1]) + here @ own[1]) / total
    there, there_sum = _attend(joined(q_BhLd), *shared)
    here, here_sum = _attend(q_BhLd, *own)
    share = torch.sigmoid(apart(there_sum[..., None]) - here_sum[..., None]).to(here.dtype)
    return torch.lerp(here, apart(there), share)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> KeyValue:
    """Attention (B, h, L, d) and the logarithm (B, h, L) of its sum of exponentials."""
    if not torch.is_grad_enabled():  # the fused kernels have no gradient of the second
        if q.device.type == "cpu":
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)[:2]
        if q.device.type == "cuda" and q.dtype in (torch.bfloat16, torch.float16):
            return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[:2]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.softmax(dim=-1) @ v, scores.logsumexp(dim=-1)


class CrossAttention(nn.Module):
    """A few query tokens read from many."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def keys_values(self, memory_BMD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, h, M, d) of the memory, so that many queries can share them."""
        k, v = self.kv(memory_BMD).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return k, v

    def forward(self, query_BLD: Tensor, memory: tuple[Tensor, Tensor]) -> Tensor:
        q = self.q(query_BLD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return self.proj(F.scaled_dot_product_attention(q, *memory).transpose(1, 2).flatten(2))


def mlp(width: int, ratio: float = 4) -> nn.Sequential:
    hidden = round(ratio * width)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4, rotation: Rotation = rotate) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, rotation)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = mlp(width, mlp_ratio)

    def forward(self, x_BLD: Tensor, rope: tuple[Tensor, Tensor] | None = None, mask: Seen | None = None) -> Tensor:
        x_BLD = x_BLD + self.attn(self.norm1(x_BLD), rope, mask)[0]
        return x_BLD + self.mlp(self.norm2(x_BLD))


class FrameAdaLNBlock(nn.Module):
    """Pre-norm block whose norms are modulated frame by frame (paper section 2.2): the P tokens of frame t share the
    shift, scale and gate made from the condition of frame t.

    The modulation starts at zero, but around open gates (1 + gate), not closed ones: the world model's zero head already
    makes an untrained model copy the last frame, and JEPA-WMs (arXiv 2512.24497) find AdaLN ahead of AdaLN-zero. The two have
    not been compared here with all else equal.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.mlp = mlp(width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x_BTPD: Tensor, condition_BTD: Tensor, rope: tuple[Tensor, Tensor], mask: Seen | None = None,
                past: KeyValue | None = None, shared: KeyValue | None = None) -> tuple[Tensor, KeyValue]:
        shape = x_BTPD.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(condition_BTD)).unsqueeze(2).chunk(6, dim=-1)
        y = torch.addcmul(shift1, self.norm1(x_BTPD), 1 + scale1)
        y, keys_values = self.attn(y.flatten(1, 2), rope, mask, past, shared)
        x_BTPD = torch.addcmul(x_BTPD, 1 + gate1, y.view(shape))
        y = self.mlp(torch.addcmul(shift2, self.norm2(x_BTPD), 1 + scale2))
        return torch.addcmul(x_BTPD, 1 + gate2, y), keys_values
