"""The goal regression, on episodes whose features are the robot's own states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lamplan.controllers import new_regression
from lamplan.models.goal_regression import GoalRegressionConfig
from lamplan.train.goal_regression import at_plans_distance, errors_of, fit_regression
from lamplan.train.labelled import encode_moments, motion_pairs, split
from lamplan.train.loop import Budget
from lamplan.train.optimiser import OptimiserConfig
from tests.train.test_proposals import SPEC, world

SMALL = GoalRegressionConfig(24, 1, 2)


def test_a_plan_is_as_long_as_its_horizon_or_as_the_episode() -> None:
    for steps, expected in ((20, 8), (6, 5)):
        lam, episodes = world(3, steps)
        pairs = motion_pairs(encode_moments(episodes, lam, SPEC), SPEC, 16)  # type: ignore[arg-type]
        assert int(pairs.gap.max()) == min(16, steps - 1)
        assert set(at_plans_distance(pairs, SPEC).gap.tolist()) == {expected}


def test_it_learns_the_motion_to_a_goal_and_keeps_what_was_best_on_other_episodes(tmp_path: Path) -> None:
    lam, episodes = world(20, 14)
    lam.config = type("Config", (), {"encoder": type("Encoder", (), {"width": 3, "side": 1})})  # type: ignore[attr-defined]
    pairs, parts = motion_pairs(encode_moments(episodes, lam, SPEC), SPEC, 10), split(20)  # type: ignore[arg-type]
    test = at_plans_distance(pairs.of(parts.test), SPEC)
    torch.manual_seed(0)
    untrained = errors_of(new_regression(SMALL, lam, SPEC), test).square().mean()  # type: ignore[arg-type]
    model, done = fit_regression(lam, pairs, parts, SPEC, SMALL, Budget(steps=400), tmp_path, batch=32, seed=0,  # type: ignore[arg-type]
                                 optimiser=OptimiserConfig(learning_rate=3e-3))
    assert errors_of(model, test).square().mean() < 0.25 * untrained and errors_of(model, test).shape == (len(test), 3)
    assert done.validation["error"] == pytest.approx(min(done.validation["error"], 1.0)) and done.validation["still_m"] > 0
    assert model.scale[0] == pytest.approx(at_plans_distance(pairs.of(parts.training), SPEC).moved[:, 0].std(unbiased=False).item())
