"""Two processes make the plan of one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from lamplan import Planner
from lamplan import planner as planner_module
from lamplan.ranks import split_over_ranks
from lamplan.rollout import Past
from lamplan.search import CEM, Gradient, SearchSpace, box
from tests.test_planner import ROBOT, PointWorld, image


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


def late_main(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = []
    for search in (CEM(60, 15, 10, 2), Gradient(6, 30, 2)):
        slow = Planner(UnevenWorld(rank), replace(ROBOT, prior_mean=np.zeros(3), prior_std=np.full(3, 0.2)), search)
        slow.warmup(deadline_s=0.1)
        for seed in range(8):
            plan = slow.plan(image(9, 9, 9), image(30, 90, 9), seed=seed, deadline_s=0.1)
            found.append(torch.from_numpy(np.append(plan.actions.ravel(), len(plan.cost_curve))))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


class UnevenWorld(PointWorld):
    """A rank that is sometimes slower than the other."""

    def __init__(self, rank: int) -> None:
        self.random = np.random.default_rng(rank)

    def candidate_bytes(self, horizon: int, slope: bool = False) -> int:
        return 2**22

    def rollout(self, past: Past, actions: Tensor) -> Tensor:
        time.sleep(0.0002 * actions.shape[1] * self.random.exponential())
        return super().rollout(past, actions)


def test_processes_with_clocks_of_their_own_keep_a_deadline_together(tmp_path: Path) -> None:
    mp.spawn(late_main, (str(tmp_path),), nprocs=2)
    mine, theirs = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert min(int(plan[-1]) for plan in mine[:8]) < 15  # there was no time for all iterations


def test_a_planner_gives_every_rank_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[str] = []
    monkeypatch.setattr(planner_module, "split_over_ranks", lambda cost: shared.append("asked") or cost)
    Planner(PointWorld(), ROBOT, CEM(9, 1, 3, 1)).plan(image(9, 9, 9), image(30, 9, 9))
    assert shared == ["asked"]


def test_alone_nothing_is_split() -> None:
    assert split_over_ranks(world) is world


@pytest.fixture(autouse=True)
def _no_leftover_group():
    yield
    assert not dist.is_initialized()
