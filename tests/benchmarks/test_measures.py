"""The errors of both protocols, against closed forms."""

import numpy as np
import pytest

from benchmarks.displacement import displacement_errors
from benchmarks.recon import as_recon_searches
from benchmarks.trajectories import WAYPOINT_M, as_seen_from_start, ate_rpe, follow, path_errors
from tests.benchmarks.fakes import PANDA, ROVER


def test_evo_gives_the_protocols_formulas() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(2, 8, 3))
    ate, rpe = ate_rpe(p, q)
    apart = p[:, :2] - q[:, :2]
    assert ate == pytest.approx(np.sqrt((apart**2).sum(axis=1).mean()))
    assert rpe == pytest.approx(np.sqrt((np.diff(apart, axis=0) ** 2).sum(axis=1).mean()))


def test_following_measured_actions_leads_along_the_measured_path() -> None:
    rng = np.random.default_rng(1)
    states = np.cumsum(rng.uniform(-0.3, 0.3, size=(9, 3)), axis=0) + (4.0, -2.0, 3.0)
    states[:, 2] = (states[:, 2] + np.pi) % (2 * np.pi) - np.pi
    walked, true = follow(ROVER.differences(states)), as_seen_from_start(states)
    np.testing.assert_allclose(walked[:, :2], true[:, :2], atol=1e-12)
    np.testing.assert_allclose(np.cos(walked[:, 2] - true[:, 2]), 1.0)


def test_a_perfect_rover_plan_has_no_error_and_a_shifted_one_the_shift() -> None:
    states = np.column_stack([np.arange(9) * 0.25, np.zeros(9), np.zeros(9)])[None]
    true = ROVER.differences(states[0])[None]
    assert all(error == pytest.approx([0.0], abs=1e-9) for error in path_errors(true, states).values())
    slow = true * (0.8, 1.0, 1.0)
    errors = path_errors(slow, states)
    lag = 0.05 * np.arange(1, 9)
    assert errors["ATE", "m"] == pytest.approx([np.sqrt((lag**2).mean())])
    assert errors["RPE", "m"] == pytest.approx([0.05])
    assert errors["RPE_waypoints", "0.25 m"] == pytest.approx([0.2])
    assert errors["end_distance", "m"] == pytest.approx([0.4])


def test_displacement_error_is_the_sum_over_axes_of_the_whole_motion() -> None:
    states = np.zeros((1, 4, 7))
    states[0, :, 0] = [0.0, 0.05, 0.1, 0.12]
    states[0, :, 2] = [0.3, 0.28, 0.25, 0.25]
    states[0, :, 6] = [0.0, 0.0, 0.5, 1.0]
    plans = np.zeros((1, 3, 7))
    plans[0, :, 0] = 0.05  # 0.15 in all, 0.03 too far
    plans[0, 0, 1] = -0.02
    plans[0, 2, 2] = -0.04  # 0.01 too little
    errors = displacement_errors(PANDA, plans, states)
    assert errors["delta_xyz", "m"] == pytest.approx([0.03 + 0.02 + 0.01])
    assert errors["delta_rotation", "rad"] == pytest.approx([0.0])
    assert errors["delta_gripper", "1"] == pytest.approx([1.0])


def test_the_order_of_planned_steps_does_not_matter_to_the_protocol() -> None:
    rng = np.random.default_rng(2)
    states, plans = rng.uniform(-0.1, 0.1, size=(4, 4, 7)), rng.uniform(-0.1, 0.1, size=(4, 3, 7))
    ahead, back = (displacement_errors(PANDA, some, states)["delta_xyz", "m"] for some in (plans, plans[:, ::-1]))
    np.testing.assert_allclose(ahead, back)


def test_recon_searches_as_published() -> None:
    searched = as_recon_searches(ROVER)
    np.testing.assert_allclose(searched.prior_mean / WAYPOINT_M, [0.875, 0.0, 0.0])
    np.testing.assert_allclose(searched.prior_std[:2] / WAYPOINT_M, [0.075, 0.4])
    assert searched.prior_std[2] == pytest.approx(0.1 * np.pi)
    assert (searched.low <= ROVER.low).all() and (searched.high >= ROVER.high).all() and searched.name == ROVER.name
