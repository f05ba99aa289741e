"""Rotary positions of V-JEPA 2: three axes, each in a slice of the head of its own, pairs of neighbouring channels.

Of a head of d channels the first 2·(d // 6) turn with time, the next ones with height, the next with width; the rest is not turned.
The frequencies of a slice of n channels are 10000^(-2i/n). V-JEPA 2 tiles them (`repeat`: channel j has frequency j mod n/2) while its
pairs are neighbours (2i, 2i+1), so the two of a pair turn at different speeds: no rotation, and no longer a function of relative
positions alone, but the released weights were trained with it. V-JEPA 2.1 gives both of a pair the same frequency (`interleaved`).
"""

from __future__ import annotations

import torch
from torch import Tensor


def clip_positions(steps: int, rows: int, columns: int, grid: int | None = None) -> Tensor:
    """(steps·rows·columns, 3) positions (t, y, x) of a clip's patches, step by step, row by row.

    With `grid` height and width are stretched or squeezed so that the last row and column stand at grid - 1, as V-JEPA 2.1 does for
    pictures of another size than it first saw; without it a larger picture has positions beyond those (V-JEPA 2 at 384 px).
    """
    def places(count: int) -> Tensor:
        return torch.arange(count, dtype=torch.float32) * ((grid - 1) / (count - 1) if grid and count > 1 else 1.0)

    return torch.cartesian_prod(torch.arange(steps, dtype=torch.float32), places(rows), places(columns))


def neighbour_tables(positions_L3: Tensor, head_dim: int, tiled: bool) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines (L, head_dim) for `rotate_neighbours`; `tiled` is V-JEPA 2's order of frequencies."""
    pairs = head_dim // 6
    frequency = 10000.0 ** (-torch.arange(pairs, device=positions_L3.device) / pairs)
    frequency = frequency.repeat(2) if tiled else frequency.repeat_interleave(2)
    angles = (positions_L3[:, :, None] * frequency).flatten(1)
    angles = torch.nn.functional.pad(angles, (0, head_dim - angles.shape[1]))
    sign = torch.tensor([-1.0, 1.0], device=angles.device).repeat(head_dim // 2)
    return angles.cos(), angles.sin() * sign


def rotate_neighbours(x_BhLd: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Turns the pairs (2i, 2i + 1) of every head by its token's angles, which may differ within a pair."""
    cos, sin = rope
    partner = x_BhLd.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return x_BhLd * cos + partner * sin
