"""A beginning inside a wall is moved beside it; a slight preference moves it little."""

from __future__ import annotations

import torch
from torch import Tensor

from lamplan.search import Gradient, SearchSpace, box
from lamplan.search.detour import detour

SPREAD = torch.tensor([0.05, 0.05])
MEAN = torch.tensor([[[0.2, 0.0]], [[0.2, 0.3]]])  # two problems, one step: straight through the wall, and past it
SPACE = SearchSpace(box(torch.full((2,), -0.5), torch.full((2,), 0.5)), MEAN, SPREAD)


def wall(actions: Tensor) -> Tensor:
    """Costs without a slope: a way straight ahead is closed."""
    return 100.0 * (actions[..., 0, 1].abs() < 0.06)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_beginning_in_a_wall_is_moved_to_the_nearest_place_beside_it() -> None:
    moved = detour(wall, SPACE, generator()).mean
    assert (wall(moved[:, None]) == 0).all()
    assert 0.06 <= moved[0, 0, 1].abs() < 0.09 and (moved[0, 0, 0] - 0.2).abs() < 0.05
    torch.testing.assert_close(moved[1], MEAN[1])  # which no wall stood in the way of


def test_a_slight_preference_moves_it_little_and_a_nan_is_no_place() -> None:
    moved = detour(lambda actions: 0.02 * actions.square().sum((-1, -2)), SPACE, generator()).mean
    assert (moved - MEAN).abs().max() < 0.02
    moved = detour(lambda actions: torch.where(actions[..., 0, 0] < 0.25, torch.nan, 0.0), SPACE, generator()).mean
    assert (moved[:, 0, 0] >= 0.25).all()


def test_a_gradient_from_one_start_then_keeps_out_of_the_wall() -> None:
    goal = torch.tensor([[[[0.4, 0.0]]], [[[0.4, 0.3]]]])

    def cost(actions: Tensor) -> Tensor:
        return (actions - goal).square().sum((-1, -2)) + wall(actions)

    search = Gradient(samples=1, iterations=60, horizon=1, rate=0.2)
    through = search.minimise(cost, SPACE, generator())
    around = search.minimise(cost, detour(wall, SPACE, generator()), generator())
    assert through.cost[0] >= 100 > 1 > around.cost[0]
    torch.testing.assert_close(around.actions[1], goal[1, 0], atol=0.02, rtol=0)
