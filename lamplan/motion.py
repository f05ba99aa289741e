"""What lies between poses: an action as their difference, actions composed to a path, and both said in other axes.

T steps, S numbers of a pose, A of an action; see `RobotSpec` for their meaning, units and order.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

Kind = Literal["arm", "mobile"]


def differences(kind: Kind, states: np.ndarray) -> np.ndarray:
    """Actions (T-1, A) of a robot of some kind that led from each of the states (T, S) to the next one."""
    return arm_motion(states[:-1], states[1:]) if kind == "arm" else _mobile_differences(states)


def arm_motion(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Actions (T, 7) of an arm that lead from states (T, 7) to states (T, 7)."""
    turned = (Rotation.from_euler("xyz", after[:, 3:6]) * Rotation.from_euler("xyz", before[:, 3:6]).inv()).as_euler("xyz")
    return np.concatenate([after[:, :3] - before[:, :3], turned, after[:, 6:7] - before[:, 6:7]], axis=1)


def composed(kind: Kind, actions: np.ndarray) -> np.ndarray:
    """Poses (T+1, S) from the origin of which each of the actions (T, A) leads to the next: the inverse of `differences`."""
    return _arm_path(actions) if kind == "arm" else _mobile_path(actions)


def turned(actions: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Actions (..., 7) of an arm, said in axes A, in axes B, where the columns of `rotation` (3, 3) are the axes A in B."""
    angles = actions[..., 3:6]
    turns = Rotation.from_rotvec(Rotation.from_euler("xyz", angles.reshape(-1, 3)).as_rotvec() @ rotation.T)
    return np.concatenate([actions[..., :3] @ rotation.T, turns.as_euler("xyz").reshape(angles.shape), actions[..., 6:]], axis=-1)


def poses_in(states: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """States (T, 7) of an arm in axes (3, 3), the columns, around the same origin: `differences` of them are actions in these axes."""
    angles = Rotation.from_matrix(axes.T) * Rotation.from_euler("xyz", states[:, 3:6])
    return np.concatenate([states[:, :3] @ axes, angles.as_euler("xyz"), states[:, 6:]], axis=1)


def mobile_arc(speed_m_s: np.ndarray, turn_rad_s: np.ndarray, seconds: float) -> np.ndarray:
    """Actions (T, 3) of a mobile robot that drives at steady speeds (T,) and turns at steady rates (T,) for some seconds."""
    length, turn = speed_m_s * seconds, turn_rad_s * seconds
    # The chord of an arc: sin(turn) / turn and (1 - cos(turn)) / turn, which stay right for a straight line.
    return np.stack([length * np.sinc(turn / np.pi), length * np.sinc(turn / 2 / np.pi) * np.sin(turn / 2), turn], axis=1)


def _mobile_differences(states: np.ndarray) -> np.ndarray:
    step, yaw = np.diff(states[:, :2], axis=0), states[:-1, 2]
    forward = np.cos(yaw) * step[:, 0] + np.sin(yaw) * step[:, 1]
    left = -np.sin(yaw) * step[:, 0] + np.cos(yaw) * step[:, 1]
    turn = (np.diff(states[:, 2]) + np.pi) % (2 * np.pi) - np.pi
    return np.stack([forward, left, turn], axis=1)


def _arm_path(actions: np.ndarray) -> np.ndarray:
    turns, passed = Rotation.from_euler("xyz", actions[:, 3:6]).as_matrix(), [np.eye(3)]
    for turn in turns:  # about the fixed axes: the later one stands on the left
        passed.append(turn @ passed[-1])
    path = np.zeros((len(actions) + 1, 7))
    path[1:, :3], path[1:, 6] = np.cumsum(actions[:, :3], axis=0), np.cumsum(actions[:, 6])
    path[:, 3:6] = Rotation.from_matrix(np.stack(passed)).as_euler("xyz")
    return path


def _mobile_path(actions: np.ndarray) -> np.ndarray:
    yaw = np.concatenate([[0.0], np.cumsum(actions[:, 2])])
    cos, sin = np.cos(yaw[:-1]), np.sin(yaw[:-1])
    steps = np.stack([cos * actions[:, 0] - sin * actions[:, 1], sin * actions[:, 0] + cos * actions[:, 1]], axis=1)
    return np.column_stack([np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)]), yaw])
