"""The suggested robot.toml: it loads, belongs to its log, and is never written over another."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplan.checkup import new_robot
from lamplan.checkup.limits import check_robot
from lamplan.checkup.suggest import limits, suggest
from lamplan.errors import DataError, InputError
from lamplan.logs import at_rate, check_limits
from lamplan.robot import RobotSpec
from tests.checkup.worlds import CAMERAS, checked, each, log
from tests.logs.helpers import write_log


def loaded(text, folder) -> RobotSpec:
    (folder / "robot.toml").write_text(text)
    return RobotSpec.load(folder)


@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(["arm", "mobile"]), seed=st.integers(0, 10_000), episodes=st.integers(1, 6), steps=st.integers(4, 40))
def test_a_log_belongs_to_the_robot_suggested_from_it(tmp_path_factory, kind, seed, episodes, steps):
    found = checked(log(kind, seed, episodes, steps))
    spec = loaded(suggest(found, "mine"), tmp_path_factory.mktemp("robot"))
    assert (spec.name, spec.kind, spec.rate_hz) == ("mine", kind, 5.0)
    assert not checked(found.survey.episodes, spec).troubles
    for episode in found.survey.episodes:
        check_limits(episode, spec)


def test_what_is_suggested(tmp_path):
    found = checked(log(episodes=20, steps=60))
    spec = loaded(suggest(found, 'a "quoted"\n\\name'), tmp_path)
    assert spec.name == 'a "quoted"\n\\name' and spec.frame == "base" and spec.camera == "exterior_image"
    # Commands are normal with a spread of 0.01 m and 0.05 rad; 99 % of the magnitudes lie within 2.6 of them.
    np.testing.assert_allclose(spec.high[:3], 0.035, rtol=0.3)
    np.testing.assert_allclose(spec.high[3:6], 0.17, rtol=0.3)
    np.testing.assert_array_equal(spec.low, -spec.high)
    np.testing.assert_allclose(spec.prior_std[:6], [0.01] * 3 + [0.05] * 3, rtol=0.1)
    places = np.concatenate([one.states[:, :3] for one in found.survey.episodes])
    assert (spec.workspace_low < np.quantile(places, 0.01, axis=0)).all() and spec.workspace_low[2] >= places[:, 2].min() - 1e-3
    assert (spec.workspace_high > np.quantile(places, 0.99, axis=0)).all()


def test_a_rover_keeps_its_direction(tmp_path):
    spec = loaded(suggest(checked(log("mobile", episodes=20, steps=60)), "mine"), tmp_path)
    assert spec.frame == "robot" and spec.low[0] > -0.01 and 0.19 < spec.high[0] < 0.25 and 0.1 < spec.prior_mean[0] < 0.15


def test_one_wild_command_does_not_widen_the_limits(tmp_path):
    episodes = log(episodes=20, steps=60)
    episodes[4].actions[11, 1] = 5.0
    spec = loaded(suggest(checked(episodes), "mine"), tmp_path)
    assert spec.high[1] < 0.05
    found = checked(episodes, spec).troubles
    assert len(found) == 1 and str(found[0]).startswith("log: demo_4, step 11: the command dy is 5 m (1 such steps); expected -0.0")


def test_limits_of_what_never_moves_leave_some_room():
    low, high = limits(np.zeros((9, 3)), np.zeros((0, 3)), "mobile")
    np.testing.assert_array_equal(high, [1e-3, 1e-3, 5e-3])
    np.testing.assert_array_equal(low, -high)


def test_limits_hold_both_commands_and_motion():
    """Commands strictly, motion with the margin of the check."""
    moved, told = np.zeros((3, 3)), np.zeros((2, 3))
    moved[:, 0], told[:, 0] = [0.2, 0.1, -0.05], [0.3, -0.04]
    low, high = limits(moved, told, "mobile")
    assert (low[0], high[0]) == (-0.06, 0.36)


def test_an_arm_goes_back_and_opens_again():
    """Even where a short log shows only one way."""
    moved = np.abs(np.random.default_rng(0).normal(0, 0.01, (50, 7)))
    moved[:, 6] = np.arange(50) == 7
    low, high = limits(moved, moved[:0], "arm")
    np.testing.assert_array_equal(low, -high)
    assert high[6] == 1.0


def test_a_slower_rate(tmp_path):
    found = checked(log(rate_hz=15.0, steps=60))
    spec = loaded(suggest(found, "mine", rate_hz=5.0), tmp_path)
    assert spec.rate_hz == 5.0 and spec.prior_std[0] == pytest.approx(0.01 * 3**0.5, rel=0.15)
    again = checked(found.survey.episodes, spec)
    assert not again.troubles and any("recorded at 15 Hz while mine acts at 5 Hz" in str(note) for note in again.notes)
    with pytest.raises(InputError, match="--rate is 30 Hz, but log was recorded at 15 Hz"):
        suggest(found, "mine", rate_hz=30.0)
    with pytest.raises(InputError, match=r"--rate is 12 Hz, .* give that rate, or 7\.5 or less"):
        suggest(found, "mine", rate_hz=12.0)


def test_a_rate_that_a_fit_refuses_is_trouble_here_too(tmp_path):
    spec = loaded(suggest(checked(log(rate_hz=5.0)), "mine"), tmp_path)
    between = checked(log(rate_hz=6.0), spec)
    assert [finding.topic for finding in between.troubles] == ["rate"] and "too unevenly" in str(between.troubles[0])
    with pytest.raises(DataError, match="too unevenly"):
        at_rate(between.survey.episodes[0], spec)


def test_what_an_action_needs_and_the_log_lacks_is_trouble(tmp_path):
    found = checked(log())
    spec = loaded(suggest(found, "mine"), tmp_path)
    there = dataclasses.replace(spec, frame="camera", workspace_low=None, workspace_high=None)
    slow = dataclasses.replace(spec, source="commanded", rate_hz=2.0)
    for robot, says in ((there, "does not say how the camera"), (slow, "one command for")):
        assert says in " ".join(map(str, checked(log(), robot).troubles))
    mute = checked(each(log(), lambda one: {"actions": None}), dataclasses.replace(spec, source="commanded"))
    assert [(one.topic, "has no commands" in str(one)) for one in mute.troubles] == [("actions", True)]
    assert not checked(log(), dataclasses.replace(spec, source="commanded")).troubles


def test_a_dead_camera_is_not_chosen():
    def read(camera, steps):
        rng = np.random.default_rng(steps.sum())
        return rng.integers(0, 255, (len(steps), 8, 8, 3), np.uint8) * np.uint8(camera != "exterior_image")

    found = checked(each(log(), lambda _: {"read": read}))
    assert 'camera = "wrist_image"' in suggest(found, "mine")


def test_what_is_wrong_is_refused():
    with pytest.raises(DataError, match="look like millimetres"):
        suggest(checked(each(log(), lambda one: {"states": one.states * ([1e3] * 3 + [1] * 4)})), "mine")
    with pytest.raises(DataError, match="states of 14 numbers"):
        suggest(checked(each(log(), lambda one: {"states": np.tile(one.states, 2), "actions": None})), "mine")
    with pytest.raises(InputError, match="no camera 'front'; it has " + ", ".join(CAMERAS)):
        suggest(checked(log()), "mine", camera="front")


def test_it_is_written_once(tmp_path):
    path, _ = new_robot(write_log(tmp_path / "log.hdf5"), "mine", tmp_path / "robots" / "mine")
    before = path.read_text()
    with pytest.raises(InputError, match="exists"):
        new_robot(tmp_path / "log.hdf5", "mine", path.parent)
    assert path.read_text() == before and [one.name for one in path.parent.iterdir()] == ["robot.toml"]


def test_the_limits_of_a_robot_are_checked(tmp_path):
    found = checked(log())
    spec = loaded(suggest(found, "mine"), tmp_path)
    narrow = dataclasses.replace(spec, low=spec.low / 4, high=spec.high / 4)
    assert {finding.topic for finding in check_robot(found.survey, narrow).findings} == {"limits"}
    assert "no camera 'front'" in str(check_robot(found.survey, dataclasses.replace(spec, camera="front")).findings[0])
    box = dataclasses.replace(spec, workspace_low=np.array([5.0, 5.0, 5.0]), workspace_high=np.array([6.0, 6.0, 6.0]))
    assert [(one.severity, one.topic) for one in check_robot(found.survey, box).findings] == [("note", "workspace")]
    rover = checked(log("mobile"), spec)
    assert "expected 7, as mine of kind 'arm' has" in " ".join(map(str, rover.troubles))
    slow = checked(log(rate_hz=4.0), spec)
    assert [finding.topic for finding in slow.troubles] == ["rate"]
