"""Movers that drive kits by their joints or their base: arms by inverse kinematics, whole bodies and hands by waves."""

from __future__ import annotations

import mujoco
import numpy as np

from envs.wild.kits import Kit
from envs.wild.motion import GroundPath, Wander, Waves
from envs.wild.world import yaw_quat

IK_STEP_S = 0.1


class _Joints:
    """Addresses of a kit's joints in a compiled model, and the writing of their values.

    Values are imposed rather than reached by motors: every robot then moves as smoothly as its path, whatever its weight,
    and still pushes the loose things that it meets.
    """

    def __init__(self, model: mujoco.MjModel, names: list[str]):
        self.qpos = np.array([int(model.joint(n).qposadr[0]) for n in names], dtype=int)
        self.dofs = np.array([int(model.joint(n).dofadr[0]) for n in names], dtype=int)

    def write(self, data: mujoco.MjData, values: np.ndarray, speeds: np.ndarray) -> None:
        data.qpos[self.qpos] = values
        data.qvel[self.dofs] = speeds


class ArmDriver:
    """Moves the tip of a kit through random points of a box by damped least squares, and opens and closes its fingers."""

    def __init__(
        self,
        rng: np.random.Generator,
        kit: Kit,
        prefix: str,
        joints: list[str],
        low: np.ndarray,
        high: np.ndarray,
        duration_s: float,
    ):
        """`low`, `high` (3,): the box of the tip's way-points in world coordinates, m."""
        self._kit, self._prefix, self._names = kit, prefix, joints
        self._low, self._high = kit.limits()
        self._is_finger = np.array(["_of_hand" in link.name for link in kit.links for _ in link.hinges], dtype=bool)
        self._duration_s = duration_s
        speed = rng.uniform(0.25, 0.7)
        self._target = Wander(rng, low, high, duration_s, hold=0.12, speed=speed)
        self._turn = Wander(rng, np.full(3, -0.6), np.full(3, 0.6), duration_s, speed=0.8)
        self._grip = Wander(rng, np.zeros(1), np.ones(1), duration_s, hold=0.5)

    def start(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._joints = _Joints(model, self._names)
        arm = ~self._is_finger
        tip = model.body(self._prefix + self._kit.tips[0]).id
        scratch = mujoco.MjData(model)
        scratch.mocap_pos[:], scratch.mocap_quat[:] = data.mocap_pos, data.mocap_quat
        scratch.qpos[:] = data.qpos
        q = self._kit.neutral.copy()
        scratch.qpos[self._joints.qpos] = q
        mujoco.mj_kinematics(model, scratch)
        upright = scratch.xmat[tip].reshape(3, 3).copy()
        steps = int(np.ceil(self._duration_s / IK_STEP_S)) + 2
        path = np.zeros((steps, len(q)))
        jacobian = np.zeros((6, model.nv))
        for k in range(steps):
            t = k * IK_STEP_S
            goal_rotation = _rotation(self._turn(t)) @ upright
            for _ in range(30 if k == 0 else 3):
                scratch.qpos[self._joints.qpos] = q
                mujoco.mj_kinematics(model, scratch)
                mujoco.mj_comPos(model, scratch)
                mujoco.mj_jacBody(model, scratch, jacobian[:3], jacobian[3:], tip)
                rotation = scratch.xmat[tip].reshape(3, 3)
                twist = 0.5 * sum(np.cross(rotation[:, i], goal_rotation[:, i]) for i in range(3))
                error = np.concatenate([np.clip(self._target(t) - scratch.xpos[tip], -0.15, 0.15), 0.4 * twist])
                j = jacobian[:, self._joints.dofs[arm]] * np.array([1, 1, 1, 0.4, 0.4, 0.4])[:, None]
                # The pull towards the natural pose keeps a redundant arm's elbow where it belongs.
                damped = j.T @ np.linalg.solve(
                    j @ j.T + 0.01 * np.eye(6), error - j @ (rest := 0.05 * (self._kit.neutral - q)[arm])
                )
                q[arm] = np.clip(q[arm] + damped + rest, self._low[arm], self._high[arm])
            path[k] = q
            fingers = self._is_finger
            path[k, fingers] = self._low[fingers] + self._grip(t) * np.minimum(self._high - self._low, 0.9)[fingers]
        self._path = path
        self.control(model, data, 0.0)

    def control(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        k = min(int(t / IK_STEP_S), len(self._path) - 2)
        step = self._path[k + 1] - self._path[k]
        self._joints.write(data, self._path[k] + (t / IK_STEP_S - k) * step, step / IK_STEP_S)


def _rotation(vector: np.ndarray) -> np.ndarray:
    """The rotation matrix (3, 3) of a rotation vector (rad)."""
    quat, matrix = np.zeros(4), np.zeros(9)
    angle = float(np.linalg.norm(vector))
    mujoco.mju_axisAngle2Quat(quat, vector / max(angle, 1e-9), angle)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)


class WaveDriver:
    """Waves all joints of a kit about its natural pose, each by at most `reach` rad (or half its range)."""

    def __init__(
        self,
        rng: np.random.Generator,
        kit: Kit,
        joints: list[str],
        reach: float,
        duration_s: float,
        period_s: tuple[float, float] = (1.2, 4.0),
        closing: bool = False,
    ):
        """`closing`: fingers, whose natural pose is the open end of their range, bend through the whole of it."""
        self._names = joints
        low, high = kit.limits()
        if closing:
            self._middle, self._reach = (low + high) / 2, (high - low) / 2
        else:
            self._middle = kit.neutral
            self._reach = np.minimum(reach * rng.uniform(0.3, 1.0, len(low)), (high - low) / 2)
        self._low, self._high = low, high
        self._waves = Waves(rng, len(low), period_s)

    def start(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._joints = _Joints(model, self._names)
        self.control(model, data, 0.0)

    def control(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        now = np.clip(self._middle + self._reach * self._waves(t), self._low, self._high)
        ahead = np.clip(self._middle + self._reach * self._waves(t + 0.01), self._low, self._high)
        self._joints.write(data, now, (ahead - now) / 0.01)


class BaseDriver:
    """Moves a kit's base along a path on the ground, at its own height."""

    def __init__(self, prefix: str, path: GroundPath):
        self._prefix, self._path = prefix, path

    def start(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._id = int(model.body(self._prefix + "root").mocapid[0])
        self._height = float(data.mocap_pos[self._id, 2])
        self.control(model, data, 0.0)

    def control(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        x, y, yaw = self._path(t)
        data.mocap_pos[self._id] = x, y, self._height
        data.mocap_quat[self._id] = yaw_quat(yaw)


class FlyDriver:
    """Moves and turns a kit's base through a box of the air, as a hand that nobody wears."""

    def __init__(
        self,
        rng: np.random.Generator,
        prefix: str,
        low: np.ndarray,
        high: np.ndarray,
        quat: np.ndarray,
        duration_s: float,
    ):
        self._prefix, self._quat = prefix, quat
        self._place = Wander(rng, low, high, duration_s, speed=rng.uniform(0.15, 0.5))
        self._turn = Wander(rng, np.full(3, -0.8), np.full(3, 0.8), duration_s, speed=1.0)

    def start(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._id = int(model.body(self._prefix + "root").mocapid[0])
        self.control(model, data, 0.0)

    def control(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        turn = self._turn(t)
        quat = np.zeros(4)
        angle = float(np.linalg.norm(turn))
        mujoco.mju_axisAngle2Quat(quat, turn / max(angle, 1e-9), angle)
        mujoco.mju_mulQuat(data.mocap_quat[self._id], quat, self._quat)
        data.mocap_pos[self._id] = self._place(t)


class ControlDriver:
    """Sends smooth random controls to the actuators of one attached model, e.g. a walker."""

    def __init__(self, rng: np.random.Generator, prefix: str, strength: float, period_s: tuple[float, float]):
        self._rng_state = rng.integers(2**32)
        self._prefix, self._strength, self._period_s = prefix, strength, period_s

    def start(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._ids = np.array([i for i in range(model.nu) if model.actuator(i).name.startswith(self._prefix)], dtype=int)
        limited = model.actuator_ctrllimited[self._ids].astype(bool)
        self._scale = self._strength * np.where(limited, model.actuator_ctrlrange[self._ids, 1], 1.0)
        self._waves = Waves(np.random.default_rng(self._rng_state), len(self._ids), self._period_s)

    def control(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        data.ctrl[self._ids] = self._scale * self._waves(t)
