"""Raw DROID in its exact layout (synthetic), read to known values."""

import json
import shutil
from functools import partial

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lamplan.errors import DataError
from lamplan.logs import open_log
from tests.logs import damage_hdf5
from tests.logs.synthetic import (
    CAMERA_POSES,
    SERIALS,
    STEPS,
    arm_states,
    droid,
    film,
    grey,
    pictures,
    stamps_ms,
    told_at,
)

CALIBRATION = "observation/camera_extrinsics"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return droid(tmp_path_factory.mktemp("droid") / "episode")


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "episode")


def test_an_episode_is_read_to_known_values(folder):
    (found,) = open_log(folder)
    np.testing.assert_allclose(found.states, arm_states())
    assert found.cameras == ("exterior_1_left", "exterior_2_left", "wrist_left")
    for number, camera in enumerate(found.cameras):
        frames = found.frames(camera, np.array([0, 7, 29]))
        assert frames.shape == (3, 32, 48, 3)
        np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [grey(step, number) for step in (0, 7, 29)], atol=2)
    assert len(open_log(folder / "trajectory.h5")) == 1
    assert "episode" in found.source


@pytest.mark.parametrize("fps", [60, 15, 30])
def test_the_rate_is_the_clocks_whatever_the_videos_say(folder, fps):
    for serial in SERIALS.values():
        film(folder / "recordings" / "MP4" / f"{serial}.mp4", pictures(), fps)
    (found,) = open_log(folder)
    assert found.rate_hz == pytest.approx(15, rel=1e-3)
    np.testing.assert_allclose(found.times_s, np.arange(STEPS) / 15, atol=1e-3)
    slower = found.resampled(4.0)
    steps = np.round((slower.states[:, 0] - 0.4) / 0.01)
    np.testing.assert_allclose(steps, np.arange(8) * 3.75, atol=0.51)
    np.testing.assert_allclose(slower.frames("wrist_left").mean(axis=(1, 2, 3)), grey(steps), atol=2)


def test_a_command_is_relative_to_the_pose_it_was_given_at_and_acts_from_the_next_step_on(folder):
    """DROID's loop observes, sleeps out its step, reads the pose again and commands: step t's command leads on from state t + 1."""
    rng = np.random.default_rng(3)
    moved, told = rng.normal(0, [0.02] * 3 + [0.1] * 3 + [0.05], (STEPS, 7)), told_at(arm_states())
    turns = Rotation.from_euler("xyz", moved[:, 3:6]) * Rotation.from_euler("xyz", told[:, 3:6])
    with h5py.File(folder / "trajectory.h5", "r+") as file:
        file["action/cartesian_position"][:] = np.concatenate([told[:, :3] + moved[:, :3], turns.as_euler("xyz")], axis=1)
        file["action/gripper_position"][:] = told[:, 6] + moved[:, 6]
    kept = open_log(folder)[0].actions
    np.testing.assert_allclose(kept[1:], moved[:-1], atol=1e-9)
    assert not kept[0].any(), "what was told before the first step is not known"
    with h5py.File(folder / "trajectory.h5", "r+") as file:
        file["action/robot_state/cartesian_position"][:, 0] -= 0.001  # the robot moves on until it is observed
    np.testing.assert_allclose(open_log(folder)[0].actions[1:] - moved[:-1], np.tile([0.001, *[0] * 6], (STEPS - 1, 1)), atol=1e-9)
    with h5py.File(folder / "trajectory.h5", "r+") as file:
        del file["action/robot_state"]
    np.testing.assert_allclose(open_log(folder)[0].actions, kept, atol=1e-12)
    with h5py.File(folder / "trajectory.h5", "r+") as file:
        del file["action"]
    assert open_log(folder)[0].actions is None


def test_how_the_cameras_stand_is_read_from_the_calibration(folder):
    (found,) = open_log(folder)
    for role, camera in zip(SERIALS, found.cameras, strict=True):
        poses = np.tile(CAMERA_POSES[role], (STEPS, 1)) + (arm_states()[:, :6] if role == "wrist" else 0)
        np.testing.assert_allclose(found.axes(camera), Rotation.from_euler("xyz", poses[:, 3:]).as_matrix(), atol=1e-12)
    assert found.axes("roof") is None
    with h5py.File(folder / "trajectory.h5", "r+") as file:
        del file[f"{CALIBRATION}/{SERIALS['ext1']}_left"]
        file[f"{CALIBRATION}/{SERIALS['ext1']}_left"] = np.zeros((STEPS, 3))
        del file[f"{CALIBRATION}/{SERIALS['ext2']}_left"]
    assert found.axes("exterior_2_left") is None
    with pytest.raises(DataError, match=r"trajectory\.h5: .*20521388_left' must hold poses \(T, 6\)"):
        found.axes("exterior_1_left")
    with h5py.File(folder / "trajectory.h5", "r+") as file:
        del file[CALIBRATION]
    assert open_log(folder)[0].axes("exterior_1_left") is None


def test_without_a_clock_the_control_loop_gives_the_rate(folder):
    with h5py.File(folder / "trajectory.h5", "r+") as file:
        del file["observation/timestamp"]
    (found,) = open_log(folder)
    assert found.rate_hz == 15.0 and found.times_s is None


def test_pauses_do_not_slow_the_rate(tmp_path):
    stamps = stamps_ms()
    stamps[10:] += 5_000
    (found,) = open_log(droid(tmp_path / "paused", stamps=stamps))
    assert found.rate_hz == pytest.approx(15, rel=2e-3)
    assert found.times_s[10] - found.times_s[9] == pytest.approx(5.067, abs=2e-3)


def test_cameras_without_metadata_are_called_by_their_serials(folder):
    (folder / "metadata_synthetic.json").unlink()
    assert open_log(folder)[0].cameras == tuple(sorted(SERIALS.values()))
    (folder / "index.json").write_text(json.dumps({"wrist_mp4_path": f"/etc/../x/{SERIALS['wrist']}.mp4", "ext1_cam_serial": 20521388}))
    assert open_log(folder)[0].cameras == ("exterior_1_left", "wrist_left", SERIALS["ext2"])


def test_many_episodes_are_one_log(folder, tmp_path):
    for name in ("IPRL/success/2023-05-0{}/run_{}".format(*pair) for pair in ((2, 10), (2, 9), (1, 3))):
        shutil.copytree(folder, tmp_path / "droid" / name)
    log = open_log(tmp_path / "droid")
    assert [found.source.split("run_")[1].split("/")[0] for found in log] == ["3", "9", "10"]
    assert len(log[1:]) == 2 and "run_10" in log[-1].source and "run_9" in log[1:][0].source


def test_an_episode_is_opened_when_it_is_asked_for(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "droid" / "a")
    (tmp_path / "droid" / "b").mkdir()
    (tmp_path / "droid" / "b" / "trajectory.h5").write_bytes(b"damaged")
    log = open_log(tmp_path / "droid")
    assert len(log) == 2 and len(log[0]) == STEPS
    with pytest.raises(DataError, match=r"b/trajectory\.h5"):
        log[1]


put = partial(damage_hdf5.put, inside="trajectory.h5")
ROBOT, CLOCK = "observation/robot_state", "observation/timestamp/control/step_start"
DAMAGE = {
    "no pose": (put(f"{ROBOT}/cartesian_position", None), "no 'observation/robot_state/cartesian_position'"),
    "no gripper": (put(f"{ROBOT}/gripper_position", None), "gripper_position"),
    "no observation": (put("observation", None), "cartesian_position"),
    "quaternions": (put(f"{ROBOT}/cartesian_position", np.zeros((STEPS, 7))), r"\(T, 6\)"),
    "another length": (put(f"{ROBOT}/gripper_position", np.zeros(STEPS - 1)), r"found \(30, 6\)"),
    "a NaN": (put(f"{ROBOT}/gripper_position", np.full(STEPS, np.nan)), "NaN"),
    "text": (put(f"{ROBOT}/gripper_position", np.full(STEPS, b"open")), "must hold numbers"),
    "a soft link": (put(f"{ROBOT}/gripper_position", h5py.SoftLink("/action/gripper_position")), "is a link"),
    "a link out": (put(ROBOT, h5py.ExternalLink("/etc/hostname", "x")), "is a link"),
    "a clock of another length": (put(CLOCK, stamps_ms(7)), "7 steps"),
    "a clock that stands": (put(CLOCK, np.full(STEPS, 5)), "stands still"),
    "a clock that goes back": (put(CLOCK, stamps_ms()[::-1].copy()), "backwards at step 1"),
    "a clock in nanoseconds": (put(CLOCK, stamps_ms() * 1_000_000), "unit"),
    "fewer poses of commands": (lambda folder: [put(f"action/robot_state/{key}", np.zeros(shape))(folder) for key, shape in (
        ("cartesian_position", (3, 6)), ("gripper_position", 3))], "'action/robot_state' has 3 steps"),
    "fewer commands": (put("action/gripper_position", np.zeros(3)), r"\(30, 6\) and \(3,\)"),
    "metadata are no JSON": (lambda folder: (folder / "metadata_synthetic.json").write_text("{"), "JSON"),
    "no videos": (lambda folder: shutil.rmtree(folder / "recordings"), "no videos"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_wrong_layout_is_named(folder, name):
    change, message = DAMAGE[name]
    change(folder)
    with pytest.raises(DataError, match=message) as caught:
        open_log(folder)[0]
    assert str(folder) in str(caught.value)


def test_a_video_of_another_length_is_named(folder):
    film(folder / "recordings" / "MP4" / f"{SERIALS['wrist']}.mp4", pictures(steps=STEPS - 1))
    (found,) = open_log(folder)
    assert len(found.frames("exterior_1_left")) == STEPS
    with pytest.raises(DataError, match="29 frames for 30 recorded states"):
        found.frames("wrist_left", np.array([0]))
