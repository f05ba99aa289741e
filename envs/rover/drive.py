"""Turns a requested displacement into wheel speeds, closing the loop on the measured pose at every physics step.

A wheeled robot cannot move sideways, so the request (dx, dy, dyaw) over one control step becomes the arc that turns by dyaw
and whose chord is the part of (dx, dy) that such an arc can give: with chord direction dyaw / 2 in the robot's frame, its
length is dx cos(dyaw / 2) + dy sin(dyaw / 2). The yaw is honoured, the sideways motion is what the arc gives.
"""

from __future__ import annotations

import math

import mujoco
import numpy as np

from envs.rover.chassis import TRACK_M, WHEEL_RADIUS_M
from envs.rover.scene import OBSTACLE_GROUP, TIMESTEP_S

CONTROL_S = 0.25
SUBSTEPS = round(CONTROL_S / TIMESTEP_S)
GAIN_FORWARD = 14.0
GAIN_TURN = 20.0
MAX_SPEED_MS = 2.0
MAX_TURN_RADS = 4.0
# Wheels that skid over the ground while turning need to roll faster than pure rolling asks.
SKID = 2.2


class Drive:
    """The rover's wheel controller for one model."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._obstacle = model.geom_group == OBSTACLE_GROUP

    def step(self, data: mujoco.MjData, action: np.ndarray) -> bool:
        """Executes (dx, dy, dyaw) over CONTROL_S; True if the rover touched an obstacle meanwhile."""
        length, turn = arc(*(float(v) for v in action))
        x0, y0, yaw0 = pose(data)
        collided = False
        for k in range(SUBSTEPS):
            done = k / SUBSTEPS
            x, y, yaw = pose(data)
            chord, direction = _chord(length * done, turn * done), yaw0 + turn * done / 2
            ahead = (x0 + chord * math.cos(direction) - x) * math.cos(yaw) + (y0 + chord * math.sin(direction) - y) * math.sin(yaw)
            speed = length / CONTROL_S + GAIN_FORWARD * ahead
            rate = turn / CONTROL_S + GAIN_TURN * wrap(yaw0 + turn * done - yaw)
            self._roll(data, speed, rate)
            collided = collided or bool(self._obstacle[data.contact.geom].any())
        # Positions of bodies and camera follow the last integration step; the image must show that moment.
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_camlight(self._model, data)
        return collided

    def brake(self, data: mujoco.MjData, seconds: float) -> None:
        """Holds the wheels still, for example while the rover settles on the ground."""
        for _ in range(round(seconds / TIMESTEP_S)):
            self._roll(data, 0.0, 0.0)
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_camlight(self._model, data)

    def _roll(self, data: mujoco.MjData, speed: float, rate: float) -> None:
        speed = min(max(speed, -MAX_SPEED_MS), MAX_SPEED_MS)
        rate = min(max(rate, -MAX_TURN_RADS), MAX_TURN_RADS)
        across = rate * SKID * TRACK_M / 2
        left, right = (speed - across) / WHEEL_RADIUS_M, (speed + across) / WHEEL_RADIUS_M
        data.ctrl[:] = (left, left, right, right)
        mujoco.mj_step(self._model, data)


def arc(dx: float, dy: float, dyaw: float) -> tuple[float, float]:
    """Length (m) and turn (rad) of the arc driven for a request; see the module."""
    chord = dx * math.cos(dyaw / 2) + dy * math.sin(dyaw / 2)
    return chord / _sinc(dyaw / 2), dyaw


def pose(data: mujoco.MjData) -> tuple[float, float, float]:
    """x, y (m) and yaw (rad) of the rover in the world."""
    x, y, _, w, i, j, k = data.qpos[:7].tolist()
    return x, y, math.atan2(2 * (w * k + i * j), 1 - 2 * (j * j + k * k))


def wrap(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _chord(length: float, turn: float) -> float:
    return length * _sinc(turn / 2)


def _sinc(angle: float) -> float:
    return math.sin(angle) / angle if abs(angle) > 1e-6 else 1.0
