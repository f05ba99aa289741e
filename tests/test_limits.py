"""Limits hold for every candidate, whatever the search asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplan.limits import Limits, stopping
from lamplan.robot import RobotSpec
from lamplan.search import CEM, ICEM, MPPI, Gradient, Refined, SearchSpace

PANDA = RobotSpec.load(Path(__file__).parent.parent / "controllers" / "panda")
BOX = [torch.as_tensor(limit, dtype=torch.float32) for limit in (PANDA.workspace_low, PANDA.workspace_high)]
EPS = 1e-5


def check(actions: torch.Tensor, position: torch.Tensor, robot: RobotSpec) -> None:
    """Asserts all limits of candidates (B, N, H, 7) that begin at rest at positions (B, 3) inside the box."""
    low, high = (torch.as_tensor(limit, dtype=torch.float32) for limit in (robot.low, robot.high))
    assert (actions >= low).all() and (actions <= high).all()
    places = position[:, None, None] + actions[..., :3].cumsum(2)
    assert (places >= BOX[0] - EPS).all() and (places <= BOX[1] + EPS).all()
    if robot.change is not None:
        change = torch.cat([actions[:, :, :1], actions.diff(dim=2)], dim=2).abs()
        assert (change <= torch.as_tensor(robot.change, dtype=torch.float32) + EPS).all()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), change=st.one_of(st.none(), st.floats(0.005, 0.2)))
def test_any_actions_end_inside_all_limits(seed: int, change: float | None) -> None:
    generator = torch.Generator().manual_seed(seed)
    robot = replace(PANDA, change=None if change is None else np.full(7, change))
    position = BOX[0] + torch.rand(100, 3, generator=generator) * (BOX[1] - BOX[0])
    wild = torch.randn(100, 1, 8, 7, generator=generator) * 0.3
    limits = Limits(robot, position)
    kept = limits(wild)
    check(kept, position, robot)
    torch.testing.assert_close(limits(kept), kept, rtol=0, atol=EPS)  # what is allowed stays as it is


def test_every_search_keeps_them_for_every_candidate_on_ten_thousand_problems() -> None:
    generator = torch.Generator().manual_seed(0)
    position = BOX[0] + torch.rand(10_000, 3, generator=generator) * (BOX[1] - BOX[0])
    robot = replace(PANDA, change=np.full(7, 0.04))
    space = SearchSpace(Limits(robot, position), torch.randn(10_000, 3, 7, generator=generator) * 0.2, torch.full((7,), 0.2))
    target = position[:, None] + torch.randn(10_000, 1, 3, generator=generator)

    def cost(actions: torch.Tensor) -> torch.Tensor:
        check(actions.detach(), position, robot)
        return (position[:, None] + actions[..., :3].sum(2) - target).square().sum(-1) + actions[..., 3:].square().sum((-1, -2))

    for search in (CEM(6, 2, 3), ICEM(6, 2, 3), MPPI(6, 2), Gradient(2, 2), Refined(CEM(6, 2, 3), 2)):
        check(search.minimise(cost, space, generator).actions[:, None], position, robot)


@pytest.mark.parametrize(("robot", "action", "previous", "held"), [
    (PANDA, [0.0, 0.0, 0.0], None, False),
    (PANDA, [0.01, 0.0, 0.0], None, False),
    (PANDA, [float(PANDA.high[0]), 0.0, 0.0], None, True),  # a step's own limit
    (PANDA, [0.0, 0.0, 0.005], None, True),  # the top of the box
    (replace(PANDA, change=np.full(7, 0.02)), [0.015, 0.0, 0.0], None, False),
    (replace(PANDA, change=np.full(7, 0.02)), [0.02, 0.0, 0.0], None, True),  # as fast as it may begin
    (replace(PANDA, change=np.full(7, 0.02)), [0.02, 0.0, 0.0], [0.01, 0.0, 0.0], False),
])
def test_what_holds_an_action_back_is_told(robot: RobotSpec, action: list[float], previous: list[float] | None, held: bool) -> None:
    def whole(first: list[float] | None) -> torch.Tensor | None:
        return None if first is None else torch.tensor([[*first, 0.0, 0.0, 0.0, 0.0]])

    position = torch.stack([(BOX[0] + BOX[1]) / 2, torch.tensor([0.0, 0.0, BOX[1][2] - 0.005])])[int(action[2] > 0)][None]
    position[:, :2] = (BOX[0] + BOX[1])[:2] / 2
    limits, wanted = Limits(robot, position, whole(previous)), whole(action)
    assert wanted is not None
    assert limits.active(limits(wanted[:, None, None])[:, 0]).tolist() == [held]


def test_a_hand_outside_may_only_come_closer() -> None:
    outside = torch.tensor([[0.2, 0.0, 0.1]])  # the box begins at x = 0.3
    there_and_back = torch.zeros(1, 2, 2, 7)
    there_and_back[0, 0, :, 0], there_and_back[0, 1, :, 0] = 0.05, -0.05
    kept = Limits(PANDA, outside)(there_and_back)
    torch.testing.assert_close(kept[0, 0, :, 0], torch.tensor([0.05, 0.05]))
    torch.testing.assert_close(kept[0, 1, :, 0], torch.tensor([0.0, 0.0]))


def test_without_a_position_the_step_limits_remain() -> None:
    high = torch.as_tensor(PANDA.high, dtype=torch.float32)
    torch.testing.assert_close(Limits(PANDA)(torch.full((1, 1, 3, 7), 9.0))[0, 0], high.expand(3, 7))


def test_the_previous_action_is_where_changes_begin() -> None:
    robot = replace(PANDA, change=np.full(7, 0.02))
    middle = (BOX[0] + BOX[1])[None] / 2
    kept = Limits(robot, middle, previous=torch.full((1, 7), 0.05))(torch.full((1, 1, 3, 7), -1.0))
    torch.testing.assert_close(kept[0, 0, :, 0], torch.tensor([0.03, 0.01, -0.01]))


@settings(max_examples=200, deadline=None)
@given(room=st.floats(0, 5), change=st.floats(0.01, 1))
def test_the_longest_step_that_can_be_stopped_uses_the_room_exactly(room: float, change: float) -> None:
    step = stopping(torch.tensor(room, dtype=torch.float64), torch.tensor(change, dtype=torch.float64)).item()
    used, speed = 0.0, step
    while speed > 0:
        used, speed = used + speed, speed - change
    assert abs(used - room) < 1e-9 * max(1, room)
