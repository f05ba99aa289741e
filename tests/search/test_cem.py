"""Search methods on closed-form worlds whose optimum is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lamplan.errors import InputError
from lamplan.search import CEM, SearchSpace, box

LOW, HIGH = torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 0.5])


def space(episodes: int, horizon: int) -> SearchSpace:
    return SearchSpace(box(LOW, HIGH), torch.zeros(episodes, horizon, 2), torch.ones(2))


def reach(target: Tensor) -> object:
    """A point that moves by the sum of its actions and should end at `target` (B, 2)."""
    return lambda actions: (actions.sum(2) - target[:, None]).square().sum(-1)


@pytest.mark.parametrize("horizon", [1, 3])
def test_finds_the_known_optimum_of_every_episode(horizon: int) -> None:
    target = torch.tensor([[0.7, -0.9], [-0.3, 0.2], [0.0, 0.0]])
    found = CEM(horizon=horizon).minimise(reach(target), space(3, horizon), torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.actions.sum(1), target, atol=0.02, rtol=0)
    assert (found.cost < 1e-3).all()


def test_an_optimum_outside_the_box_is_approached_at_its_edge() -> None:
    found = CEM(horizon=1).minimise(reach(torch.tensor([[5.0, 5.0]])), space(1, 1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.actions[0, 0], HIGH)


def test_no_candidate_leaves_the_box_and_the_mean_is_among_them() -> None:
    seen = []

    def cost(actions: Tensor) -> Tensor:
        seen.append(actions)
        return actions.square().sum((2, 3))

    CEM(samples=50, iterations=3).minimise(cost, space(2, 3), torch.Generator().manual_seed(1))
    every = torch.cat([actions.flatten(0, 2) for actions in seen])
    assert (every >= LOW).all() and (every <= HIGH).all()
    assert torch.equal(seen[0][:, 0], torch.zeros(2, 3, 2))


def test_the_best_cost_of_the_iterations_falls() -> None:
    found = CEM(samples=100, iterations=8).minimise(reach(torch.tensor([[1.5, -2.0]])), space(1, 3), torch.Generator().manual_seed(0))
    assert found.curve.shape == (8, 1)
    assert found.curve[-1, 0] < 0.05 * found.curve[0, 0]


def test_the_same_seed_gives_the_same_answer_and_another_seed_another() -> None:
    answers = [CEM(samples=30, iterations=2).minimise(reach(torch.tensor([[0.5, 0.1]])), space(1, 3), torch.Generator().manual_seed(seed))
               for seed in (3, 3, 4)]
    assert torch.equal(answers[0].actions, answers[1].actions)
    assert not torch.equal(answers[0].actions, answers[2].actions)


def test_beats_uniform_sampling_of_the_same_budget_in_a_linear_quadratic_world() -> None:
    torch.manual_seed(0)
    a, b, horizon = torch.tensor([[1.0, 0.25], [0.0, 1.0]]), torch.tensor([[0.03, 0.0], [0.25, 0.1]]), 5
    goal = torch.tensor([0.6, 0.0])

    def cost(actions: Tensor) -> Tensor:
        state = torch.zeros(*actions.shape[:2], 2)
        for h in range(horizon):
            state = state @ a.T + actions[:, :, h] @ b.T
        return (state - goal).square().sum(-1) + 1e-3 * actions.square().sum((2, 3))

    found = CEM(horizon=horizon).minimise(cost, space(1, horizon), torch.Generator().manual_seed(0))
    uniform = LOW + torch.rand(1, 300 * 15, horizon, 2) * (HIGH - LOW)
    assert found.cost.item() < cost(uniform).min().item()


@pytest.mark.parametrize("bad", [{"elites": 0}, {"samples": 5, "elites": 6}, {"iterations": 0}, {"horizon": 0}])
def test_impossible_settings_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(InputError, match="CEM needs"):
        CEM(**bad)
