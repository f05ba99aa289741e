"""Two processes make the plan of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from lamplan.ranks import split_over_ranks
from lamplan.search import CEM, Gradient, SearchSpace, box


def world(actions: Tensor) -> Tensor:
    return (actions.sum(2) - torch.tensor([0.4, -0.2])).square().sum(-1)


def answer(search: CEM | Gradient, seen: list[int]) -> Tensor:
    def cost(actions: Tensor) -> Tensor:
        seen.append(actions.shape[1])
        return world(actions)

    space = SearchSpace(box(torch.tensor([-1.0, -1.0]), torch.tensor([1.0, 1.0])), torch.zeros(2, 3, 2), torch.ones(2))
    return search.minimise(split_over_ranks(cost), space, torch.Generator().manual_seed(0)).actions


def rank_main(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    seen: list[int] = []
    found = [answer(search, seen) for search in (CEM(51, 4), Gradient(3, 5))]
    assert max(seen[:4]) == 26  # half of the candidates, rounded up
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_make_the_plan_of_one(tmp_path: Path) -> None:
    mp.spawn(rank_main, (str(tmp_path),), nprocs=2)
    alone = [answer(search, []) for search in (CEM(51, 4), Gradient(3, 5))]
    for rank in range(2):
        for mine, theirs in zip(torch.load(tmp_path / f"{rank}.pt", weights_only=True), alone, strict=True):
            torch.testing.assert_close(mine, theirs)


def test_alone_nothing_is_split() -> None:
    assert split_over_ranks(world) is world


@pytest.fixture(autouse=True)
def _no_leftover_group():
    yield
    assert not dist.is_initialized()
