"""One plan by several processes: under `torchrun` every rank imagines its share of the candidates."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

Cost = Callable[[Tensor], Tensor]


def several_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def least_over_ranks(number: int, device: torch.device) -> int:
    """The smallest of what the ranks say, each of which has a clock and memory of its own to tell by."""
    if not several_ranks():
        return number
    least = torch.tensor(number, device=device)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    return int(least)


def split_over_ranks(cost: Cost) -> Cost:
    """The same costs (B, N) of candidates (B, N, H, A), each rank having worked on a part of them.

    All ranks must hold the same candidates, as they do where they search with the same seed. With one process, and
    where a gradient is wanted, nothing is split.
    """
    if not several_ranks():
        return cost
    ranks, rank = dist.get_world_size(), dist.get_rank()

    def shared(actions: Tensor) -> Tensor:
        if actions.requires_grad:
            return cost(actions)
        candidates = actions.shape[1]
        share = -(-candidates // ranks)
        padded = torch.cat([actions, actions[:, -1:].expand(-1, share * ranks - candidates, -1, -1)], dim=1)
        mine = cost(padded[:, rank * share : (rank + 1) * share].contiguous()).contiguous()
        everyone = [torch.empty_like(mine) for _ in range(ranks)]
        dist.all_gather(everyone, mine)
        return torch.cat(everyone, dim=1)[:, :candidates]

    return shared
