"""What lies between poses: an action as their difference, actions composed to a path, and both said in other axes.

T steps, S numbers of a pose, A of an action; see `RobotSpec` for their meaning, units and order. All but `mobile_arc` take whole batches,
with any leading dimensions (...): tensors, and answer on their device and in their dtype, or NumPy arrays, and answer in float64.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from lamplan import rotations
from lamplan.arrays import Array, library, like, numbers

Kind = Literal["arm", "mobile"]


def differences(kind: Kind, states: Array) -> Array:
    """Actions (..., T-1, A) of a robot of some kind that led from each of the states (..., T, S) to the next one."""
    states = numbers(states)
    return between(kind, states[..., :-1, :], states[..., 1:, :])


def between(kind: Kind, before: Array, after: Array) -> Array:
    """Actions (..., A) of a robot of some kind that lead from states (..., S) to states (..., S)."""
    return arm_motion(before, after) if kind == "arm" else mobile_motion(before, after)


def arm_motion(before: Array, after: Array) -> Array:
    """Actions (..., 7) of an arm that lead from states (..., 7) to states (..., 7)."""
    before, after = numbers(before), numbers(after)
    turn = rotations.between(rotations.from_euler(before[..., 3:6]), rotations.from_euler(after[..., 3:6]))
    return _with_turns(after - before, turn)


def mobile_motion(before: Array, after: Array) -> Array:
    """Actions (..., 3) of a mobile robot that lead from states (..., 3) to states (..., 3): the pose after, seen from the one before."""
    before, after = numbers(before), numbers(after)
    xp, step, yaw = library(before), after - before, before[..., 2]
    forward = xp.cos(yaw) * step[..., 0] + xp.sin(yaw) * step[..., 1]
    left = -xp.sin(yaw) * step[..., 0] + xp.cos(yaw) * step[..., 1]
    return xp.stack([forward, left, (step[..., 2] + np.pi) % (2 * np.pi) - np.pi], -1)


def composed(kind: Kind, actions: Array) -> Array:
    """Poses (..., T+1, S) from the origin of which each of the actions (..., T, A) leads to the next: the inverse of `differences`."""
    actions = numbers(actions)
    path = _arm_path(actions) if kind == "arm" else _mobile_path(actions)
    return _from_origin(path)


def divided(kind: Kind, motions: Array, steps: Any) -> Array:
    """The actions (..., A) that, taken `steps` times, lead by the motions (..., A), themselves actions. An arm turns about one axis, the
    shorter way round; a mobile robot drives a circle, and its `steps` may be (...), and no whole numbers."""
    motions = numbers(motions)
    if kind == "mobile":
        return _arc_step(motions, steps)
    turn = rotations.to_rotvec(rotations.from_euler(motions[..., 3:6]))
    return _with_turns(motions / steps, rotations.from_rotvec(turn / steps))


def turned(actions: Array, rotation: Any) -> Array:
    """Actions (..., 7) of an arm, said in axes A, in axes B, where the columns of `rotation` (3, 3) are the axes A in B."""
    actions = numbers(actions)
    xp, rotation = library(actions), like(rotation, actions)
    turn = rotations.from_euler(actions[..., 3:6])
    # The same turn about the same axis, which is said in other axes.
    turn = xp.concatenate([turn[..., :3] @ rotation.T, turn[..., 3:]], -1)
    return _with_turns(xp.concatenate([actions[..., :3] @ rotation.T, actions[..., 3:]], -1), turn)


def poses_in(states: Array, axes: Any) -> Array:
    """States (..., 7) of an arm in axes (3, 3), the columns, around the same origin: `differences` of them are actions in these axes."""
    states = numbers(states)
    xp, axes = library(states), like(axes, states)
    orientation = rotations.composed(rotations.from_matrix(axes.T), rotations.from_euler(states[..., 3:6]))
    return _with_turns(xp.concatenate([states[..., :3] @ axes, states[..., 3:]], -1), orientation)


def mobile_arc(speed_m_s: np.ndarray, turn_rad_s: np.ndarray, seconds: float) -> np.ndarray:
    """Actions (T, 3) of a mobile robot that drives at steady speeds (T,) and turns at steady rates (T,) for some seconds."""
    length, turn = speed_m_s * seconds, turn_rad_s * seconds
    # The chord of an arc: sin(turn) / turn and (1 - cos(turn)) / turn, which stay right for a straight line.
    return np.stack([length * np.sinc(turn / np.pi), length * np.sinc(turn / 2 / np.pi) * np.sin(turn / 2), turn], axis=1)


def _with_turns(poses: Array, turns: Array) -> Array:
    """Poses or actions (..., 7) of an arm whose angles are those of quaternions (..., 4)."""
    return library(poses).concatenate([poses[..., :3], rotations.to_euler(turns), poses[..., 6:]], -1)


def _arm_path(actions: Array) -> Array:
    return _with_turns(actions.cumsum(-2), rotations.running(rotations.from_euler(actions[..., 3:6])))


def _mobile_path(actions: Array) -> Array:
    xp, yaw = library(actions), actions[..., 2].cumsum(-1)
    before = yaw - actions[..., 2]
    forward, left = actions[..., 0], actions[..., 1]
    steps = xp.stack([xp.cos(before) * forward - xp.sin(before) * left, xp.sin(before) * forward + xp.cos(before) * left], -1)
    return xp.concatenate([steps.cumsum(-2), yaw[..., None]], -1)


def _from_origin(path: Array) -> Array:
    """The poses (..., T, S), and the origin before them."""
    xp = library(path)
    return xp.concatenate([xp.zeros_like(path.sum(-2))[..., None, :], path], -2)


def _arc_step(pose: Array, steps: Any) -> Array:
    """The motion (..., 3) that, repeated `steps` times, leads along a circle to the planar poses [x, y, yaw] (..., 3)."""
    xp, yaw = library(pose), pose[..., 2]
    # A repeated turn by `yaw / steps` adds up like a geometric series of unit complex numbers: a step has this share of the whole chord,
    # and looks this far to the side of it. As sinc it stays right for a straight line.
    share = xp.sinc(yaw / (2 * np.pi * steps)) / (steps * xp.sinc(yaw / (2 * np.pi)))
    aside = (1 / steps - 1) * yaw / 2
    along, across = share * xp.cos(aside), share * xp.sin(aside)
    return xp.stack([along * pose[..., 0] - across * pose[..., 1], across * pose[..., 0] + along * pose[..., 1], yaw / steps], -1)
