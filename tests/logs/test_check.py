"""A log must belong to the robot: rate, sizes, commands and measured motion."""

from dataclasses import replace

import numpy as np
import pytest

from lamplan.errors import DataError
from lamplan.logs import Episode, check_limits
from tests.logs.helpers import episode, spec


def made(**changes) -> Episode:
    _, states, actions = episode(0)
    found = Episode(states, actions, 4.0, ("exterior_image",), "log.hdf5: demo_0",
                    lambda camera, steps: np.zeros((len(steps), 8, 8, 3), np.uint8))
    return replace(found, **changes)


def with_value(values: np.ndarray, step: int, axis: int, value: float) -> np.ndarray:
    changed = values.copy()
    changed[step, axis] = value
    return changed


def test_a_log_of_the_robot_passes():
    check_limits(made(), spec())
    check_limits(made(rate_hz=4.05), spec())


@pytest.mark.parametrize("rate_hz", [3.9, 4.1, 20.0])
def test_another_rate_is_named(rate_hz):
    with pytest.raises(DataError, match=f"{rate_hz:g} Hz, but panda acts at 4 Hz"):
        check_limits(made(rate_hz=rate_hz), spec())


def test_a_command_beyond_the_limits_is_named():
    actions = made().actions
    check_limits(made(actions=with_value(actions, 2, 1, 0.1)), spec())
    with pytest.raises(DataError, match=r"command 'dy' is 0\.12 m at step 2, beyond panda's limits -0\.1 to 0\.1 \(1 such"):
        check_limits(made(actions=with_value(actions, 2, 1, 0.12)), spec())


def test_measured_motion_may_overshoot_to_twice_the_limit():
    states = np.zeros((6, 7))
    check_limits(made(states=with_value(states, 5, 2, 0.19)), spec())
    with pytest.raises(DataError, match="measured motion 'dz'"):
        check_limits(made(states=with_value(states, 5, 2, 0.21)), spec())


def test_a_turn_through_pi_is_no_jump():
    states = np.zeros((6, 7))
    states[:, 3] = np.pi - 0.02 + 0.01 * np.arange(6)
    states[:, 3] = (states[:, 3] + np.pi) % (2 * np.pi) - np.pi
    check_limits(made(states=states), spec())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": np.zeros((6, 3))}, r"shape \(T, 7\), found \(6, 3\)"),
        ({"states": np.zeros((6, 3))}, "states of panda"),
        ({"states": np.full((6, 7), np.nan)}, "states hold a NaN"),
        ({"actions": np.full((6, 7), np.inf)}, "actions hold a NaN"),
        ({"actions": np.zeros((5, 7))}, "5 actions for 6 states"),
    ],
)
def test_wrong_numbers_are_named(changes, message):
    with pytest.raises(DataError, match=message):
        check_limits(made(**changes), spec())


def test_wrong_images_are_named():
    with pytest.raises(DataError, match="6 states"):
        made(read=lambda camera, steps: np.zeros((5, 8, 8, 3), np.uint8)).frames("exterior_image")
    with pytest.raises(DataError, match="uint8"):
        made(read=lambda camera, steps: np.zeros((6, 8, 8))).frames("exterior_image")
