"""Costs of imagined frames against goals, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lamplan.costs import GoalCost, Goals
from lamplan.errors import InputError


def frames(*places: float) -> Tensor:
    """One candidate of one episode (1, 1, H, 1, 2) whose frame h has the features (place, 1)."""
    return torch.tensor([[place, 1.0] for place in places])[None, None, :, None]


def goals(*places: float, sequence: bool = True) -> Goals:
    return Goals(frames(*places)[0], sequence)


@pytest.mark.parametrize(("distance", "expected"), [("l2", 4.5), ("l1", 1.5), ("cosine", 1 - 1 / 10**0.5)])
def test_distances(distance: str, expected: float) -> None:
    found = GoalCost(distance)(frames(9.0, 0.0), goals(3.0)).item()  # type: ignore[arg-type]
    assert found == pytest.approx(expected)


def test_the_last_step_counts_or_all_of_them() -> None:
    assert GoalCost()(frames(1.0, 2.0, 3.0), goals(3.0)).item() == 0
    assert GoalCost(over="all")(frames(1.0, 2.0, 3.0), goals(3.0)).item() == pytest.approx((4 + 1 + 0) / 2 / 3)


def test_sub_goals_are_due_one_after_the_other() -> None:
    assert GoalCost()(frames(1.0, 5.0, 2.0, 7.0), goals(5.0, 7.0)).item() == 0
    assert GoalCost()(frames(1.0, 2.0, 3.0), goals(1.0, 2.0, 3.0)).item() == 0
    # Of three steps and two goals the first is due after one step, and all steps lead to the next goal due.
    assert GoalCost()(frames(4.0, 0.0, 6.0), goals(4.0, 6.0)).item() == 0
    assert GoalCost("l1", "all")(frames(4.0, 5.0, 6.0), goals(4.0, 6.0)).item() == pytest.approx((0 + 0.5 + 0) / 3)
    with pytest.raises(InputError, match="3 goals in a row for a plan of 2 steps"):
        GoalCost()(frames(1.0, 2.0), goals(1.0, 2.0, 3.0))


def test_of_several_goals_the_nearest_counts_for_each_candidate() -> None:
    two = torch.cat([frames(1.0), frames(8.0)], dim=1)
    assert GoalCost("l1")(two, goals(0.0, 10.0, sequence=False)).tolist() == [[0.5, 1.0]]


def test_the_cost_of_staying() -> None:
    here = torch.tensor([[[2.0, 1.0]]])
    assert GoalCost("l1").now(here, goals(3.0, 4.0), 2).item() == pytest.approx((0.5 + 1.0) / 2)
    assert GoalCost("l1").now(here, goals(3.0, 4.0, sequence=False), 1).item() == pytest.approx(0.5)


def test_unknown_costs_are_refused() -> None:
    with pytest.raises(InputError, match="l2, l1, cosine"):
        GoalCost("l3")  # type: ignore[arg-type]
