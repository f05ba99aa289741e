"""Poses by the names of a state's numbers."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lamplan.logs.poses import other_than_pose, pose_from_names

POSE = np.random.default_rng(0).uniform(-1, 1, (5, 7))


@pytest.mark.parametrize("names", [
    ["x", "y", "z", "roll", "pitch", "yaw", "gripper"],
    ["EE_X", "ee_y", "ee.z", "ee_roll", "ee_pitch", "ee_yaw", "gripper.pos"],
    ["end_effector_pos_x", "end_effector_pos_y", "end_effector_pos_z", "roll", "pitch", "yaw", "gripper_position"],
])
def test_an_arm(names):
    order = np.random.default_rng(1).permutation(7)
    pose = pose_from_names([names[axis] for axis in order])
    np.testing.assert_array_equal(pose(POSE[:, order]), POSE)


@pytest.mark.parametrize("names", [["qx", "qy", "qz", "qw"], ["rx", "ry", "rz", "rw"]])
def test_a_quaternion_becomes_angles_about_fixed_axes(names):
    quaternions = Rotation.from_euler("xyz", POSE[:, 3:6]).as_quat()
    states = np.concatenate([POSE[:, :3], quaternions, POSE[:, 6:]], axis=1)
    np.testing.assert_allclose(pose_from_names(["x", "y", "z", *names, "gripper"])(states), POSE, atol=1e-12)


def test_a_rotation_vector_becomes_angles_about_fixed_axes():
    vectors = Rotation.from_euler("xyz", POSE[:, 3:6]).as_rotvec()
    names = ["ee.x", "ee.y", "ee.z", "ee.wx", "ee.wy", "ee.wz", "ee.gripper_pos"]
    np.testing.assert_allclose(pose_from_names(names)(np.concatenate([POSE[:, :3], vectors, POSE[:, 6:]], axis=1)), POSE, atol=1e-12)
    assert np.array_equal(pose_from_names(names)(np.zeros((1, 7))), np.zeros((1, 7)))


@pytest.mark.parametrize(("names", "held"), [
    (["x", "y", "z", "qx", "qy", "qz", "qw"], "a quaternion and no gripper"), ([f"motor_{axis}" for axis in range(7)], "joints or motors"),
    ([*(f"joint_{axis}.pos" for axis in range(6)), "gripper.pos"], "joints or motors"), (["motor_0", "motor_1", "pan"], "joints or motors"),
    ([f"joint_{axis}" for axis in range(14)], None), ([], None), (["x", "y", "z", "rx", "ry", "rz", "gripper"], None),
    (["x", "y", "z", "qx", "qy", "qz", "qw", "gripper"], None), (["x", "y", "yaw"], None), (["motors"], None),
])
def test_a_state_as_wide_as_a_pose_that_names_say_is_none(names, held):
    assert other_than_pose(names) == held


def test_a_mobile_robot():
    np.testing.assert_array_equal(pose_from_names(["speed", "x", "y", "theta"])(POSE[:, :4]), POSE[:, 1:4])


@pytest.mark.parametrize("names", [
    [], [f"motor_{axis}" for axis in range(7)], ["x", "y", "z", "rx", "ry", "rz", "gripper"], ["x", "y", "z", "roll", "pitch", "yaw"],
    ["left_x", "left_y", "left_z", "left_roll", "left_pitch", "left_yaw", "left_gripper"], ["x", "y", "z", "yaw"], ["x", "x", "yaw", "y"],
])
def test_what_names_do_not_tell_is_not_guessed(names):
    assert pose_from_names(names) is None
