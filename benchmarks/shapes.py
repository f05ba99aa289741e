"""Plans described by a single action: the search then has A numbers to find, however long the horizon."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Shape = Callable[[Tensor, int], Tensor]


def straight_line(action: Tensor, steps: int) -> Tensor:
    """(..., 1, 3) to (..., steps, 3): one (dx, dy) repeated, the whole turn at the last step (RECON protocol)."""
    still = torch.cat([action[..., :2], torch.zeros_like(action[..., 2:])], dim=-1)
    return torch.cat([still.expand(*action.shape[:-2], steps - 1, action.shape[-1]), action], dim=-2)


def arc(action: Tensor, steps: int) -> Tensor:
    """(..., 1, A) to (..., steps, A): the same action all along; with a turn in it, a mobile robot drives a circle."""
    return action.expand(*action.shape[:-2], steps, action.shape[-1])
