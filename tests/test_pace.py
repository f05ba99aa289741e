"""The rules that keep a deadline, on a clock that stands still until it is moved."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from lamplan import CEM, Gradient, Planner, judge, pace, planner, rollout
from lamplan.lam import LatentActionModel
from lamplan.models.compiled import compile_rollout
from lamplan.models.controller import Controller, ControllerConfig
from lamplan.pace import Deadline, Pace
from lamplan.rollout import LatentDynamics, Past
from lamplan.search import Search
from tests.models.test_networks import LAM, scrambled
from tests.test_planner import ROBOT, PointWorld, image


class Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (judge, pace, planner):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_time_is_left_for_what_follows_the_last_iteration(clock: Clock) -> None:
    held = Pace(candidate_s=0.01)
    first = Deadline(0.0, 1.0, held, last_iteration=0.0)
    clock.now = 0.6
    first.iteration_over()
    clock.now = 0.8  # the search looked at its answer, and the planner turned it into actions
    first.plan_over()
    assert held.finish_s == pytest.approx(0.2)
    second = Deadline(1.0, 1.0, held, last_iteration=1.0)
    clock.now = 1.75
    assert second.left_s == pytest.approx(0.05)
    assert second.time_for(4) and not second.time_for(6)


def test_another_iteration_as_long_as_the_longest_must_fit(clock: Clock) -> None:
    deadline = Deadline(0.0, 1.0, Pace(), last_iteration=0.0)
    clock.now = 0.4
    assert not deadline.iteration_over()
    clock.now = 0.65
    assert deadline.iteration_over()


def test_a_plan_without_a_deadline_tells_nothing_of_how_long_one_takes_to_finish(clock: Clock) -> None:
    held = Pace()
    clock.now = 3.0  # on an accelerator, the whole of a search that nobody waited for
    Deadline(0.0, None, held, last_iteration=0.0).plan_over()
    assert held.finish_s == 0.0


def test_without_a_deadline_there_is_always_time() -> None:
    deadline = Deadline(0.0, None, Pace(candidate_s=9.0, finish_s=9.0))
    assert deadline.time_for(10**6) and not deadline.iteration_over()


def test_a_slow_portion_is_forgotten_slowly_and_portions_are_a_tenth_of_the_time() -> None:
    held = Pace()
    for seconds in (0.01, 0.04, 0.01):
        held.saw_candidates(1, seconds)
    assert held.candidate_s == pytest.approx(0.019)  # a stall counts as twice as slow, however long it was
    assert held.in_flight(32, 1.0) == 4 and held.in_flight(32, None) == 32
    held.saw_candidates(1, 5.0)
    for _ in range(10):
        held.saw_candidates(1, 0.01)
    assert held.candidate_s < 0.02


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.2])
def test_a_deadline_is_kept_within_a_tenth_on_a_machine_whose_speed_varies(clock: Clock, spread: float) -> None:
    rng = np.random.default_rng(0)

    class SteadyWorld(PointWorld):
        def candidate_bytes(self, horizon: int, slope: bool = False) -> int:
            return 1  # memory for all of them

        def rollout(self, past: Past, actions: Tensor) -> Tensor:
            clock.now += (0.006 + 0.008 * actions.shape[1]) * rng.lognormal(0.0, spread)
            return super().rollout(past, actions)

    robot = replace(ROBOT, prior_mean=np.zeros(3), prior_std=np.full(3, 0.2))
    steady = Planner(SteadyWorld(), robot, CEM(300, 15, 10, 2))
    steady.warmup(deadline_s=0.25, plans=5)
    took = []
    for seed in range(50):
        begun = clock.now
        steady.plan(image(9, 9, 9), image(30, 9, 9), seed=seed, deadline_s=0.25)
        took.append(clock.now - begun)
    assert np.percentile(took, 99) <= 1.1 * 0.25
    assert np.median(took) > 0.8 * 0.25  # and the time is used


@pytest.mark.parametrize("search", [CEM(300, 15, 10, 2), Gradient(samples=1, iterations=500, horizon=2)])
def test_a_deadline_is_kept_where_an_accelerator_computes_what_it_was_asked_for_later(
        clock: Clock, monkeypatch: pytest.MonkeyPatch, search: Search) -> None:
    ready = 0.0

    class Accelerator(PointWorld):
        def candidate_bytes(self, horizon: int, slope: bool = False) -> int:
            return 1

        def rollout(self, past: Past, actions: Tensor) -> Tensor:
            nonlocal ready
            ready = max(ready, clock.now) + 0.002 * actions.shape[1]
            clock.now += 0.001
            return super().rollout(past, actions)

    def wait_for(device: object) -> None:
        clock.now = max(clock.now, ready)

    monkeypatch.setattr(planner, "wait_for", wait_for)
    robot = replace(ROBOT, prior_mean=np.zeros(3), prior_std=np.full(3, 0.2))
    late = Planner(Accelerator(), robot, search)
    late.warmup(deadline_s=0.25, plans=5)
    for seed in range(20):
        begun = clock.now
        late.plan(image(9, 9, 9), image(30, 9, 9), seed=seed, deadline_s=0.25)
        wait_for(None)
        assert 0.5 * 0.25 < clock.now - begun <= 1.1 * 0.25


def test_what_is_compiled_while_warming_up_is_not_taken_for_slow(clock: Clock) -> None:
    class CompiledWorld(PointWorld):
        known: ClassVar[dict[int, set[int]]] = {}  # by length of history, the numbers of candidates; the second compiles for any number
        seen, most = 0, 0

        def candidate_bytes(self, horizon: int, slope: bool = False) -> int:
            return 1

        def start(self, frames: Tensor) -> Past:
            self.seen = frames.shape[1]
            return super().start(frames)

        def rollout(self, past: Past, actions: Tensor) -> Tensor:
            sizes = self.known.setdefault(self.seen, set())
            compiles = len(sizes) < 2 and actions.shape[1] not in (1, *sizes)  # one is imagined as it is
            clock.now += 0.006 + 0.001 * actions.shape[1] + 20.0 * compiles
            self.most = max(self.most, actions.shape[1])
            if compiles:
                sizes.add(actions.shape[1])
            return super().rollout(past, actions)

    robot = replace(ROBOT, prior_mean=np.zeros(3), prior_std=np.full(3, 0.2))
    world = CompiledWorld()
    compiled = Planner(world, robot, CEM(30, 15, 10, 2))
    compiled.warmup(deadline_s=0.25)
    for history in (1, 2, 3, 3):
        begun, world.most = clock.now, 0
        compiled.plan([image(9, 9, 9)] * history, image(30, 9, 9), deadline_s=0.25)
        assert 0.5 * 0.25 < clock.now - begun <= 1.1 * 0.25
        assert world.most >= 15  # and not one by one, as after a plan that was taken for slow


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Planner]]:
    """A planner whose blocks are compiled as on a device, but for the compiler of kernels: here they are counted."""
    def on(device: str) -> Planner:
        monkeypatch.setattr(rollout, "compile_rollout", lambda part, frozen: compile_rollout(part, device == "cpu"))
        lam = scrambled(LatentActionModel(LAM)).eval()
        controller = scrambled(Controller(ControllerConfig(width=24, depth=1, heads=2), 24, 4, 3, 8)).eval()
        return Planner(LatentDynamics(lam, controller, compile=True), ROBOT, CEM(60, 15, 10, 2))  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(planner, "most_in_flight", lambda dynamics, horizon, slope=False: 300)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield on
    torch._dynamo.reset()


def graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def seen(episodes: int) -> np.ndarray:
    size = LAM.encoder.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (episodes, size, size, 3), dtype=np.uint8)
    return pictures[0] if episodes == 1 else pictures


def plans_at_every_pace(compiled: Planner, pictures: np.ndarray) -> None:
    """With every length of history, and as many candidates at once as a load would leave time for."""
    for history in (1, 2, 3):
        for at_once in (60, 32, 16, 8, 4, 2, 1):
            if at_once >= pictures[..., 0, 0, 0].size:
                for running in (None, np.zeros((*pictures.shape[:-3], 3))):
                    compiled._pace = Pace(candidate_s=0.1 * 0.05 / (at_once + 0.5))
                    compiled.plan([pictures] * history, pictures, deadline_s=0.05, running=running)


@pytest.mark.parametrize(("device", "episodes"), [("cpu", 1), ("cuda", 1), ("cuda", 3)])
def test_whatever_a_plan_with_a_deadline_needs_was_compiled_by_the_warm_up(
        device: str, episodes: int, compiles: Callable[[str], Planner], monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, pictures = compiles(device), seen(episodes)
    compiled.warmup(deadline_s=0.05, image=pictures)
    before = graphs()
    monkeypatch.setattr(planner, "only_preparing", lambda what: nullcontext())  # or it would be done without
    plans_at_every_pace(compiled, pictures)
    assert graphs() == before > 0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_plan_with_a_deadline_waits_for_a_compiler_and_others_do(device: str, compiles: Callable[[str], Planner]) -> None:
    compiled = compiles(device)
    compiled.warmup(deadline_s=0.05, image=seen(1), plans=1)
    before = graphs()
    for pictures in (seen(1), seen(3)):  # of one a history longer than the warm-up's, and episodes together
        plans_at_every_pace(compiled, pictures)
    assert graphs() == before > 0
    compiled.plan([seen(1)] * 3, seen(1))
    assert graphs() > before
