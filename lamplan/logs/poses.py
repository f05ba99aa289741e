"""`pose_from_names`: which numbers of a state are the robot's pose, as far as their names tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from lamplan import rotations
from lamplan.robot import STATE_DIM

PREFIXES = ("observation_", "state_", "end_effector_", "eef_", "ee_", "tcp_")
XYZ = (("x", "y", "z"), ("pos_x", "pos_y", "pos_z"), ("position_x", "position_y", "position_z"))
ROLL_PITCH_YAW = (("roll", "pitch", "yaw"), ("rot_roll", "rot_pitch", "rot_yaw"))
# Three numbers rx, ry, rz alone may be Euler angles or an axis times an angle: those are left as they stand.
QUATERNIONS = (("qx", "qy", "qz", "qw"), ("quat_x", "quat_y", "quat_z", "quat_w"), ("rx", "ry", "rz", "rw"))
ROTATION_VECTORS = (("wx", "wy", "wz"),)
JOINTS = ("joint", "motor")
GRIPPER = (("gripper",), ("gripper_position",), ("gripper_pos",))
PLANAR = (("x", "y", "yaw"), ("x", "y", "theta"), ("x", "y", "heading"))

Pose = Callable[[np.ndarray], np.ndarray]
"""States (T, S) as a log keeps them to states (T, 7) or (T, 3) as `RobotSpec` defines them."""


def pose_from_names(names: Sequence[str]) -> Pose | None:
    """How to take the pose of an arm or a mobile robot out of a state with these names; None when they do not say.

    The sign of a gripper cannot be known from a name and stays as it is.
    """
    plain = [_plain(name) for name in names]
    if len(set(plain)) != len(plain):
        return None
    xyz, angles, quaternion, vector, gripper, planar = (_find(plain, groups) for groups in (
        XYZ, ROLL_PITCH_YAW, QUATERNIONS, ROTATION_VECTORS, GRIPPER, PLANAR))
    if xyz and angles and gripper:
        return lambda states: states[:, [*xyz, *angles, *gripper]]
    if xyz and quaternion and gripper:
        return lambda states: np.concatenate([states[:, xyz], euler(states[:, quaternion]), states[:, gripper]], axis=1)
    if xyz and vector and gripper:
        return lambda states: np.concatenate([states[:, xyz], rotations.to_euler(rotations.from_rotvec(states[:, vector])),
                                              states[:, gripper]], axis=1)
    if planar and "z" not in plain:
        return lambda states: states[:, planar]
    return None


def other_than_pose(names: Sequence[str]) -> str | None:
    """What a state as wide as a pose holds instead of one, where its names say so; None when they do not."""
    plain = [_plain(name) for name in names]
    if len(plain) not in STATE_DIM.values() or pose_from_names(names):
        return None
    if _find(plain, QUATERNIONS):
        return "a quaternion and no gripper"
    return "joints or motors" if any(part in name for name in plain for part in JOINTS) else None


def euler(quaternions: np.ndarray) -> np.ndarray:
    """Fixed-axis xyz angles (T, 3) of quaternions (T, 4), real part last. ValueError when one is zero."""
    return Rotation.from_quat(quaternions).as_euler("xyz")


def _find(plain: Sequence[str], groups: Sequence[tuple[str, ...]]) -> list[int] | None:
    """Where the first of the groups that is there as a whole stands."""
    return next(([plain.index(name) for name in group] for group in groups if all(name in plain for name in group)), None)


def _plain(name: str) -> str:
    name = name.strip().lower().replace(".", "_").replace(" ", "_").replace("-", "_")
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name
