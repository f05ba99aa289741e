"""The goal regression, on episodes whose features are the robot's own states."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lamplan.controllers import new_regression
from lamplan.models.goal_regression import GoalRegression
from lamplan.models.inverse_dynamics import InverseDynamicsConfig, InverseDynamicsModel
from lamplan.rollout import LatentDynamics, Past
from lamplan.train.distribution import Execution
from lamplan.train.goal_regression import at_plans_distance, errors_of, fit_regression, gain_of, nearest
from lamplan.train.labelled import encode_moments, motion_pairs, split
from lamplan.train.loop import Budget
from lamplan.train.optimiser import OptimiserConfig
from tests.train.test_proposals import SPEC, world

SMALL = InverseDynamicsConfig(24, 1, 2)


def test_a_plan_is_as_long_as_its_horizon_or_as_the_episode() -> None:
    for steps, expected in ((20, 8), (6, 5)):
        lam, episodes = world(3, steps)
        pairs = motion_pairs(encode_moments(episodes, lam, SPEC), SPEC, 16)  # type: ignore[arg-type]
        assert int(pairs.gap.max()) == min(16, steps - 1)
        assert set(at_plans_distance(pairs, SPEC).gap.tolist()) == {expected}


def test_the_nearest_pairs_are_those_between_which_the_robot_moved_least() -> None:
    for count in (1, 3):
        lam, episodes = world(count, 12)
        pairs = motion_pairs(encode_moments(episodes, lam, SPEC), SPEC, 4)  # type: ignore[arg-type]
        found, way = nearest(pairs, SPEC), pairs.moved[:, SPEC.position].norm(dim=1)
        assert len(found) == -(-len(pairs) // 10)
        assert found.moved[:, SPEC.position].norm(dim=1).max() == way.sort().values[len(found) - 1]


def test_it_begins_as_the_inverse_dynamics_model_it_learns_and_keeps_what_was_best_on_other_episodes(tmp_path: Path) -> None:
    lam, episodes = world(20, 14)
    torch.manual_seed(0)
    lam.config = SimpleNamespace(encoder=SimpleNamespace(width=3, side=1), inverse_dynamics=SMALL)  # type: ignore[attr-defined]
    lam.inverse_dynamics = InverseDynamicsModel(SMALL, 3, 1, 16)  # type: ignore[attr-defined]
    pairs, parts = motion_pairs(encode_moments(episodes, lam, SPEC), SPEC, 10), split(20)  # type: ignore[arg-type]
    test = at_plans_distance(pairs.of(parts.test), SPEC)
    begun = new_regression(lam, SPEC)  # type: ignore[arg-type]
    learned = dict(lam.inverse_dynamics.named_parameters())  # type: ignore[attr-defined]
    for name, weight in begun.network.named_parameters():
        assert (weight.shape == learned[name].shape and torch.equal(weight, learned[name])) != name.startswith("head."), name
    before = errors_of(begun, test).square().mean()
    model = new_regression(lam, SPEC)  # type: ignore[arg-type]
    done = fit_regression(model, pairs, parts, SPEC, Budget(steps=400), tmp_path, batch=32, seed=0,
                          optimiser=OptimiserConfig(learning_rate=3e-3), execution=Execution())
    assert errors_of(model, test).square().mean() < 0.25 * before and errors_of(model, test).shape == (len(test), 3)
    validation = at_plans_distance(pairs.of(parts.validation), SPEC)
    believed = errors_of(model, validation)
    assert (model.gain > 0.3).all() and (model.gain <= 1).all()
    model.gain.fill_(1.0)
    plain = errors_of(model, validation)
    assert done.validation["delta_m"] == pytest.approx(believed[:, SPEC.position].norm(dim=1).mean().item(), rel=1e-5)
    assert believed.square().mean() <= plain.square().mean() and done.validation["delta_m"] < done.validation["still_m"]
    assert model.scale[0] == pytest.approx(at_plans_distance(pairs.of(parts.training), SPEC).moved[:, 0].std(unbiased=False).item())


def test_what_says_nothing_of_the_motion_is_not_believed() -> None:
    rng = torch.Generator().manual_seed(0)
    moved = torch.randn(4000, 3, generator=rng)
    noise = torch.randn(4000, 3, generator=rng)
    gain = gain_of(torch.stack([moved[:, 0], moved[:, 1] + noise[:, 1], -moved[:, 2]], dim=1), moved)
    torch.testing.assert_close(gain, torch.tensor([1.0, 0.5, 0.0]), atol=0.05, rtol=0)
    # A whisper that is right, but of a fiftieth of the motion: its best factor is 1, and it is still not worth moving for.
    assert gain_of(0.1 * (0.1 * moved + noise * 0.7), moved).eq(0).all()
    assert gain_of(0.5 * (0.5 * moved + noise * 0.5), moved).gt(0).all()


def test_a_search_looks_least_far_where_least_is_believed_and_nowhere_where_nothing_is() -> None:
    model = GoalRegression(SMALL, 3, 1, 3)
    model.spread.copy_(torch.tensor([0.1, 0.2, 0.4]))
    model.gain.copy_(torch.tensor([1.0, 0.5, 0.0]))
    torch.testing.assert_close(model.reach, torch.tensor([0.1, 0.05, 0.0]))
    from_pictures = SimpleNamespace(regression=model)
    proposal = LatentDynamics.propose(from_pictures, Past(torch.zeros(2, 1, 3), None), torch.ones(2, 1, 3))  # type: ignore[arg-type]
    assert torch.equal(proposal.spread, model.reach) and proposal.displacement.shape == (2, 3)
