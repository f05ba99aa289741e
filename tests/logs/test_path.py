"""What counts as an action in a log: the measured motion or the commands, in the base's frame or the camera's."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lamplan.errors import DataError
from lamplan.logs import Episode, at_rate, check_limits, open_log, path_of
from lamplan.logs.path import axes_of
from lamplan.robot import RobotSpec
from tests.logs.helpers import episode, spec
from tests.logs.synthetic import CAMERA_POSES, arm_states, droid

AXES = Rotation.from_euler("xyz", [0.4, -1.1, 2.0]).as_matrix()
CAMERA = "exterior_image"


def recorded(**changes) -> Episode:
    _, states, actions = episode(0)
    found = Episode(states, actions, 4.0, (CAMERA,), "log.hdf5: demo_0", lambda camera, steps: np.zeros((len(steps), 8, 8, 3), np.uint8))
    return replace(found, **changes)


def robot(**changes) -> RobotSpec:
    return replace(spec(), workspace_low=None, workspace_high=None, **changes)


def test_measured_motion_in_the_base_frame_is_that_of_the_states():
    np.testing.assert_array_equal(path_of(recorded(), robot()), recorded().states)


def test_commands_are_the_differences_of_their_path():
    found, told = recorded(), robot(source="commanded")
    path = path_of(found, told)
    assert path.shape == found.states.shape
    np.testing.assert_allclose(told.differences(path), found.actions[:-1], atol=1e-12)
    assert np.abs(robot().differences(found.states) - found.actions[:-1]).max() > 0.01


def test_commands_over_several_steps_are_composed():
    found, told = recorded(), robot(source="commanded")
    over = told.differences(path_of(found, told)[[1, 4]])[0]
    turns = Rotation.from_euler("xyz", found.actions[1:4, 3:6])
    np.testing.assert_allclose(over[:3], found.actions[1:4, :3].sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(Rotation.from_euler("xyz", over[3:6]).as_matrix(), (turns[2] * turns[1] * turns[0]).as_matrix(), atol=1e-9)


@pytest.mark.parametrize("source", ["measured", "commanded"])
def test_the_cameras_frame_turns_every_action_by_its_axes(source):
    here, there = robot(source=source), robot(source=source, frame="camera", axes={CAMERA: AXES})
    base, seen = (one.differences(path_of(recorded(), one)) for one in (here, there))
    np.testing.assert_allclose(seen[:, :3], base[:, :3] @ AXES, atol=1e-9)
    np.testing.assert_allclose(seen[:, 6], base[:, 6], atol=1e-12)
    np.testing.assert_allclose(there.to_base(seen), base, atol=1e-9)
    assert np.abs(seen[:, :6] - base[:, :6]).max() > 0.01


def test_what_the_log_says_of_its_camera_counts_before_robot_toml():
    there = robot(frame="camera", axes={CAMERA: np.eye(3)})
    found = recorded(axes=lambda camera: np.tile(AXES, (6, 1, 1)) if camera == CAMERA else None)
    np.testing.assert_array_equal(axes_of(found, there), AXES)
    np.testing.assert_array_equal(axes_of(recorded(), there), np.eye(3))
    assert axes_of(found, robot()) is None


def test_an_episode_of_droid_in_the_frame_of_its_camera(tmp_path):
    (found,) = open_log(droid(tmp_path / "episode"))
    axes = Rotation.from_euler("xyz", CAMERA_POSES["ext1"][3:]).as_matrix()
    there = robot(frame="camera", camera="exterior_1_left", rate_hz=5.0)
    slow = at_rate(found, there)
    seen = there.differences(path_of(slow, there))
    np.testing.assert_allclose(seen[:, :3], np.tile([0.03, 0.015, -0.012], (len(seen), 1)) @ axes, atol=1e-9)
    np.testing.assert_allclose(there.to_base(seen, axes), robot().differences(arm_states()[::3]), atol=1e-9)
    with pytest.raises(DataError, match=r"the camera 'wrist_left' turns by .* stands still: choose another"):
        path_of(slow, replace(there, camera="wrist_left"))


def test_limits_are_those_of_the_robots_own_frame():
    states = np.zeros((6, 7))
    states[3:, 0] = 0.19  # m along the base's x, in one step
    moving = recorded(states=states, actions=None)
    check_limits(moving, robot())
    turn = Rotation.from_euler("z", np.pi / 2).as_matrix()  # the base's x is the camera's -y
    narrow = robot(frame="camera", axes={CAMERA: turn}, low=np.array([-1, -0.05, -1, -1, -1, -1, -1.0]))
    with pytest.raises(DataError, match=r"measured motion 'dy' is -0\.19 m"):
        check_limits(moving, narrow)
    told = recorded(actions=np.tile([0.09, 0, 0, 0, 0, 0, 0], (6, 1)), states=np.zeros((6, 7)))
    with pytest.raises(DataError, match=r"command 'dy' is -0\.09 m"):
        check_limits(told, narrow)
    check_limits(told, replace(narrow, frame="base"))


@pytest.mark.parametrize(("found", "wanted", "message"), [
    (recorded(actions=None), robot(source="commanded"), "demo_0 has no commands, but .* set source = 'measured'"),
    (recorded(actions=np.zeros((6, 3))), robot(source="commanded"), r"commands of panda have shape \(6, 7\), found \(6, 3\)"),
    (recorded(), robot(frame="camera"), r"does not say how the camera 'exterior_image' stands, .* \[extrinsics\] in robot.toml"),
])
def test_what_is_missing_is_named(found, wanted, message):
    with pytest.raises(DataError, match=message):
        path_of(found, wanted)
    with pytest.raises(DataError, match=message if "shape" not in message else r"shape \(T, 7\)"):
        check_limits(found, wanted)


@pytest.mark.parametrize("rate_hz", [5.0, 8.0, 15.0])
def test_commands_of_another_rate_are_not_added_up(rate_hz):
    with pytest.raises(DataError, match=rf"at {rate_hz:g} Hz, but panda acts at 4 Hz; a robot does less .* {rate_hz:g}, or source"):
        at_rate(recorded(rate_hz=rate_hz), robot(source="commanded"))
