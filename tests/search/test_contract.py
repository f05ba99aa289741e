"""What every search method promises, on closed-form worlds whose optimum is known."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from lamplan.errors import InputError
from lamplan.search import CEM, ICEM, MPPI, Gradient, Refined, Search, SearchSpace, box
from lamplan.search.base import Cost, elite_moments
from lamplan.search.icem import coloured_noise

METHODS = {
    "cem": CEM(samples=200, iterations=12),
    "cem with momentum": CEM(samples=200, iterations=12, momentum_mean=0.1, momentum_std=0.1),
    "icem": ICEM(samples=200, iterations=12),
    "mppi": MPPI(samples=200, iterations=12),
    "gradient": Gradient(samples=4, iterations=80),
    "cem, refined": Refined(CEM(samples=60, iterations=8), iterations=20),
}
every_method = pytest.mark.parametrize("search", METHODS.values(), ids=METHODS.keys())
LOW, HIGH = torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 0.5])


def space(episodes: int, horizon: int = 3) -> SearchSpace:
    return SearchSpace(box(LOW, HIGH), torch.zeros(episodes, horizon, 2), torch.ones(2))


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


class LinearQuadratic:
    """x' = a x + b u, the squared distance of the last x to a goal, and a small price of u: its optimum solves a linear system."""

    a, b, horizon, price = torch.tensor([[1.0, 0.25], [0.0, 1.0]]), torch.tensor([[0.3, 0.0], [0.25, 0.5]]), 3, 0.02

    def __init__(self, goals: Tensor) -> None:
        self.goals = goals  # (B, 2)

    def __call__(self, actions: Tensor) -> Tensor:
        state = torch.zeros(*actions.shape[:2], 2)
        for h in range(self.horizon):
            state = state @ self.a.T + actions[:, :, h] @ self.b.T
        return (state - self.goals[:, None]).square().sum(-1) + self.price * actions.square().sum((2, 3))

    def optimum(self) -> Tensor:
        """(B,) the least cost."""
        reach = torch.cat([torch.linalg.matrix_power(self.a, self.horizon - 1 - h) @ self.b for h in range(self.horizon)], dim=1)
        best = torch.linalg.solve(reach.T @ reach + self.price * torch.eye(2 * self.horizon), reach.T @ self.goals.T).T
        return self(best.view(-1, 1, self.horizon, 2))[:, 0]


@every_method
def test_linear_dynamics_with_quadratic_cost_come_within_one_percent_of_the_optimum(search: Search) -> None:
    world = LinearQuadratic(torch.tensor([[0.5, 0.3], [-0.4, 0.2], [0.2, -0.6]]))
    found = search.minimise(world, space(3), seed())
    nothing = world(torch.zeros(3, 1, 3, 2))[:, 0]
    assert ((found.cost - world.optimum()) <= 0.01 * (nothing - world.optimum())).all()
    torch.testing.assert_close(world(found.actions[:, None])[:, 0], found.cost)


@every_method
def test_every_limit_holds_for_every_candidate_on_ten_thousand_problems(search: Search) -> None:
    problems = 10_000
    cheap = {field: value for field, value in {"samples": 8, "elites": 3, "iterations": 2}.items() if hasattr(search, field)}
    search = dataclasses.replace(search, **cheap)  # type: ignore[type-var]
    if isinstance(search, Refined):
        search = Refined(CEM(samples=8, elites=3, iterations=2), iterations=2)
    generator = seed(1)
    low = -torch.rand(3, generator=generator) * 2
    high = low + torch.rand(3, generator=generator) * 2 + 0.01
    mean = torch.randn(problems, 2, 3, generator=generator) * 3
    std = torch.rand(problems, 2, 3, generator=generator) * 5 + 1e-3
    target = torch.randn(problems, 1, 3, generator=generator) * 3
    seen_low, seen_high = high.clone(), low.clone()

    def cost(actions: Tensor) -> Tensor:
        nonlocal seen_low, seen_high
        seen_low = torch.minimum(seen_low, actions.detach().amin((0, 1, 2)))
        seen_high = torch.maximum(seen_high, actions.detach().amax((0, 1, 2)))
        return (actions.sum(2) - target).square().sum(-1)

    search = dataclasses.replace(search, first=dataclasses.replace(search.first, horizon=2)) if isinstance(search, Refined) \
        else dataclasses.replace(search, horizon=2)  # type: ignore[type-var]
    found = search.minimise(cost, SearchSpace(box(low, high), mean, std), generator)
    assert (seen_low >= low).all() and (seen_high <= high).all()
    assert (found.actions >= low).all() and (found.actions <= high).all()


@every_method
def test_same_seed_same_answer(search: Search) -> None:
    world = LinearQuadratic(torch.tensor([[0.5, 0.3]]))
    first, again, other = (search.minimise(world, space(1), seed(number)) for number in (1, 1, 2))
    assert torch.equal(first.actions, again.actions)
    if not isinstance(search, Gradient):  # which ends at the optimum, wherever it began
        assert not torch.equal(first.actions, other.actions)


@every_method
def test_candidates_whose_cost_is_not_finite_never_reach_the_plan(search: Search) -> None:
    def cost(actions: Tensor) -> Tensor:
        value = (actions.sum(2) - 0.3).square().sum(-1)
        value = torch.where(actions[..., 0].amax(-1) > 0.4, torch.nan, value)
        return torch.where(actions[..., 1].amin(-1) < -0.8, -torch.inf, value)

    found = search.minimise(cost, space(4), seed(3))
    assert torch.isfinite(found.actions).all() and torch.isfinite(found.cost).all()
    assert torch.isfinite(cost(found.actions[:, None])).all()


@every_method
def test_an_episode_without_any_finite_cost_raises(search: Search) -> None:
    def cost(actions: Tensor) -> Tensor:
        value = actions.square().sum((2, 3))
        return torch.where(torch.arange(2)[:, None] == 1, torch.nan, value)

    with pytest.raises(InputError, match="no finite plan"):
        search.minimise(cost, space(2), seed())


@every_method
def test_horizon_one_and_a_single_episode_have_the_right_shapes(search: Search) -> None:
    search = Refined(CEM(horizon=1)) if isinstance(search, Refined) else dataclasses.replace(search, horizon=1)  # type: ignore[type-var]
    found = search.minimise(lambda actions: actions.square().sum((2, 3)), space(1, 1), seed())
    assert found.actions.shape == (1, 1, 2) and found.cost.shape == (1,) and found.curve.shape[1:] == (1,)


@every_method
@pytest.mark.parametrize("begin", [0.0, -0.4])
def test_what_has_no_spread_stays_where_the_search_begins(search: Search, begin: float) -> None:
    begun, target = torch.tensor([0.0, begin]), torch.tensor([0.4, 0.3])
    if isinstance(search, Gradient):
        search = dataclasses.replace(search, pull=0.01)
    where = SearchSpace(box(LOW, HIGH), begun.expand(2, 3, 2), torch.tensor([0.5, 0.0]))
    found = search.minimise(lambda actions: (actions - target).square().sum((2, 3)), where, seed()).actions
    torch.testing.assert_close(found[..., 1], torch.full((2, 3), begin), atol=1e-6 * abs(begin), rtol=0)
    torch.testing.assert_close(found[..., 0], torch.full((2, 3), 0.4), atol=0.05, rtol=0)


@every_method
def test_what_is_found_for_an_episode_does_not_depend_on_the_others(search: Search) -> None:
    goals = torch.tensor([[0.5, 0.3], [-0.4, 0.2], [0.5, 0.3]])
    together = search.minimise(LinearQuadratic(goals), space(3), seed(5))
    alone = search.minimise(LinearQuadratic(goals[1:2]), space(1), seed(5))
    torch.testing.assert_close(together.actions[1:2], alone.actions, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.actions[0], together.actions[2], rtol=0, atol=1e-5)


@every_method
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_plan_once_found_survives_iterations_without_any_finite_cost(search: Search, bad: float) -> None:
    looks = 0

    def cost(actions: Tensor) -> Tensor:
        nonlocal looks
        looks += 1
        value = (actions - 0.3).square().sum((2, 3))
        return value if looks == 1 else value * 0 + bad

    found = search.minimise(cost, space(2), seed(2))
    assert looks > 2 and torch.isfinite(found.cost).all()
    torch.testing.assert_close((found.actions - 0.3).square().sum((1, 2)), found.cost)


@every_method
def test_one_candidate_at_a_wall_is_no_reason_to_give_up(search: Search) -> None:
    if isinstance(search, Gradient):
        search = Gradient(samples=1, iterations=40, pull=0.01)

    def cost(actions: Tensor) -> Tensor:
        value = (actions - torch.tensor([0.9, 0.4])).square().sum((2, 3))
        return torch.where((actions[..., 0] > 0.5).any(-1), torch.inf, value)

    found = search.minimise(cost, space(2), seed(4))
    assert (found.actions[..., 0] <= 0.5).all() and (found.actions[..., 0] > 0.2).all()


def test_where_the_mean_of_the_elites_is_forbidden_the_best_of_them_is_the_answer() -> None:
    def ring(actions: Tensor) -> Tensor:
        value = (actions.abs() - 0.8).abs().sum((2, 3))
        return torch.where((actions.abs() < 0.6).any((2, 3)), torch.inf, value)

    where = SearchSpace(box(torch.tensor([-1.0]), torch.tensor([1.0])), torch.zeros(1, 1, 1), torch.ones(1))
    for search in (CEM(200, 1, 100, 1), MPPI(200, 1, 1, temperature=50.0)):
        found = search.minimise(ring, where, seed())
        assert found.actions.abs() >= 0.6 and torch.isfinite(found.cost)


def watched(cost: Cost) -> tuple[Cost, list[Tensor]]:
    """A cost, and what it was asked."""
    asked: list[Tensor] = []

    def watching(actions: Tensor) -> Tensor:
        asked.append(actions.detach())
        return cost(actions)

    return watching, asked


def far(actions: Tensor) -> Tensor:
    return (actions - torch.tensor([0.3, -0.2])).square().sum((2, 3))


def free(episodes: int = 1) -> SearchSpace:
    """Without limits: what is drawn is what is tried."""
    return SearchSpace(lambda actions: actions, torch.zeros(episodes, 2, 2), torch.tensor([0.5, 1.0]))


def test_cem_fits_mean_and_unbiased_spread_to_the_elites_and_keeps_a_share_of_the_old() -> None:
    cost, asked = watched(far)
    CEM(20, 2, 6, 2, momentum_mean=0.25, momentum_std=0.1).minimise(cost, free(), seed(3))
    elites = asked[0][0, far(asked[0])[0].argsort()[:6]]
    mean, std = 0.75 * elites.mean(0), 0.9 * elites.std(0) + 0.1 * torch.tensor([0.5, 1.0])
    torch.testing.assert_close(asked[1][0, 0], mean)  # which is tried as it is
    generator = seed(3)
    noise = [torch.randn(1, 20, 2, 2, generator=generator) for _ in range(2)][1][0, 1:]
    torch.testing.assert_close(asked[1][0, 1:], mean + noise * std)
    assert len(asked[0][0]) == 20


def test_icem_tries_fewer_each_time_and_its_best_again() -> None:
    cost, asked = watched(far)
    ICEM(60, 3, 10, 2, decay=1.5, kept=0.3, momentum=0.2).minimise(cost, free(), seed(3))
    assert [len(candidates[0]) for candidates in asked] == [1 + 60, 1 + 3 + 40, 1 + 3 + 26]
    order = far(asked[0])[0].argsort()
    torch.testing.assert_close(asked[1][0, 1:4], asked[0][0, order[:3]])
    torch.testing.assert_close(asked[1][0, 0], 0.8 * asked[0][0, order[:10]].mean(0))


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_mppi_weighs_candidates_by_their_cost(temperature: float) -> None:
    cost, asked = watched(far)
    MPPI(20, 2, 2, temperature).minimise(cost, free(), seed(3))
    costs = far(asked[0])[0]
    weight = torch.softmax(-costs / (temperature * costs.sort().values[:10].std()), dim=0)
    torch.testing.assert_close(asked[1][0, 0], (weight[:, None, None] * asked[0][0]).sum(0), atol=1e-6, rtol=1e-4)


def test_mppi_of_two_candidates_stays_at_the_better_one() -> None:
    where = dataclasses.replace(free(), mean=torch.full((1, 2, 2), 0.3))
    found = MPPI(2, 4, 2).minimise(lambda actions: (actions - 0.3).square().sum((2, 3)), where, seed())
    assert found.cost < 1e-3


def test_elites_without_a_finite_cost_do_not_count() -> None:
    actions = torch.tensor([1.0, 5.0, 2.0, 9.0])[None, :, None, None]
    before = torch.full((1, 1, 1), 7.0), torch.full((1, 1, 1), 8.0)
    costs = torch.tensor([[0.0, torch.inf, 1.0, torch.inf]])
    mean, std = elite_moments(actions, costs, 3, before, unbiased=True)
    assert mean.item() == pytest.approx(1.5) and std.item() == pytest.approx(0.5**0.5)
    assert elite_moments(actions, costs, 3, before, unbiased=False)[1].item() == pytest.approx(0.5)
    assert elite_moments(actions, costs, 1, before, unbiased=True)[1].item() == 0.0
    assert [moment.item() for moment in elite_moments(actions, costs + torch.inf, 3, before, unbiased=True)] == [7.0, 8.0]


def test_the_gradient_steps_as_torchs_adam_does() -> None:
    def steep(actions: Tensor) -> Tensor:
        return (actions - torch.tensor([0.3, -0.2])).pow(4).sum((2, 3))

    cost, asked = watched(steep)
    where = dataclasses.replace(free(), std=torch.ones(2))
    Gradient(1, 12, 2, rate=0.1).minimise(cost, where, seed())
    parameter = torch.zeros(2, 2, requires_grad=True)
    adam = torch.optim.Adam([parameter], lr=0.1, betas=(0.9, 0.99), eps=1e-8)
    for tried in asked:
        torch.testing.assert_close(tried[0, 0], parameter.detach(), atol=1e-5, rtol=1e-4)
        adam.zero_grad()
        steep(parameter[None, None]).sum().backward()
        adam.step()


def test_a_refinement_that_has_no_time_left_is_left_out() -> None:
    cost, asked = watched(far)
    first = CEM(20, 5, 6, 2)
    found = Refined(first, 5).minimise(cost, free(), seed(), enough=lambda: True)
    assert len(asked) == 2 and torch.equal(found.actions, first.minimise(far, free(), seed(), enough=lambda: True).actions)


def test_the_pull_is_no_part_of_the_costs_that_are_found() -> None:
    found = Gradient(3, 20, 2, pull=0.5).minimise(far, free(2), seed())
    torch.testing.assert_close(found.cost, far(found.actions[:, None])[:, 0])
    assert found.curve[0, 0] <= far(torch.zeros(1, 1, 2, 2)) and found.curve.min() <= found.cost.min() + 1e-6


def test_a_cost_without_gradient_is_refused_by_the_gradient() -> None:
    with pytest.raises(InputError, match="no gradient"):
        Gradient().minimise(lambda actions: actions.detach().square().sum((2, 3)), space(1), seed())


@pytest.mark.parametrize("pull", [0.0, 0.5, 5.0])
def test_the_pull_ends_between_the_beginning_and_the_optimum(pull: float) -> None:
    target, begin, std = torch.tensor([0.6, 0.2]), torch.tensor([-0.2, -0.4]), torch.tensor([0.5, 2.0])
    where = SearchSpace(box(LOW, HIGH), begin.expand(2, 1, 2), std)
    found = Gradient(1, 300, 1, rate=0.05, pull=pull).minimise(lambda actions: (actions - target).square().sum((2, 3)), where, seed())
    weight = pull / (2 * std.square())  # of the mean over two numbers, beside the cost's own slope
    torch.testing.assert_close(found.actions[:, 0], ((target + weight * begin) / (1 + weight)).expand(2, 2), atol=5e-3, rtol=0)


@pytest.mark.parametrize("colour", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("horizon", [1, 2, 5, 8])
def test_coloured_noise_has_unit_variance_and_neighbours_agree_the_more_the_redder_it_is(colour: float, horizon: int) -> None:
    noise = coloured_noise(80_000, horizon, 1, colour, seed())[..., 0]
    assert noise.var().item() == pytest.approx(1.0, abs=0.03)
    if horizon > 1:
        together = (noise[..., 1:] * noise[..., :-1]).mean().item()
        assert together == pytest.approx(0.0, abs=0.02) if colour == 0 else together > 0.2


@pytest.mark.parametrize(("method", "bad"), [
    (CEM, {"momentum_mean": 1.0}), (ICEM, {"elites": 0}), (ICEM, {"decay": 0.5}), (MPPI, {"samples": 1}), (MPPI, {"temperature": 0.0}),
    (Gradient, {"rate": 0.0}), (Gradient, {"pull": -0.1})])
def test_impossible_settings_are_refused(method: type, bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{method.__name__} needs"):
        method(**bad)
