"""The arm as a measured pose and a servo: where the hand is, which joint angles put it elsewhere, and the motion there."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from envs.tabletop.model import STEP_S, Names

# How far the hand may lean from pointing straight down (x, y) and turn from home (z), rad: within this no arm gets stuck.
LEAN_LIMIT = np.array([0.35, 0.35, 1.2])
# The hand moves during the first part of a step and comes to rest in what remains.
MOVING_SHARE = 0.85
UPDATES = 32  # set-points of the servo in a step
SQUEEZE = 0.4  # how far the commanded closure may run ahead of the measured one: the grip on an object
IK_ITERATIONS = 12
IK_DAMPING = 1e-4
POSTURE_GAIN = 0.1


@dataclass
class Hand:
    """Pose of the hand: position in the base frame (m), rotation of the hand from pointing straight down, closure 0-1."""

    position: np.ndarray
    rotation: Rotation
    closure: float

    def vector(self) -> np.ndarray:
        """(7,) [xyz m, euler rad (fixed axes xyz), closure]."""
        return np.concatenate([self.position, self.rotation.as_euler("xyz"), [self.closure]])


class Arm:
    """Measures and moves the arm of one simulation. Holds no state of its own but the commanded closure of the hand."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, names: Names):
        self.model, self.data, self.names = model, data, names
        self.closure_command = 0.0
        self._scratch = mujoco.MjData(model)
        self._jacobian = np.zeros((6, model.nv))
        self._range = model.jnt_range[model.dof_jntid[names.arm_dof]]
        self._lag_s = -model.actuator_biasprm[names.arm_actuators, 2] / model.actuator_gainprm[names.arm_actuators, 0]
        self._home_rotation = self._downwards()
        self._fingers_open, self._fingers_closed = self._finger_ends()
        self._command_open = self._within_reach(names.gripper_open, self._fingers_open)
        self._command_closed = self._within_reach(names.gripper_closed, self._fingers_closed)
        self._profile = _minimum_jerk(UPDATES)
        self._finger_ramp = np.minimum(np.arange(1, UPDATES + 1) / (0.4 * UPDATES), 1.0)  # early: the fingers trail

    def measure(self) -> Hand:
        """The hand now, from the simulation's positions (which must be up to date, as after a step)."""
        site, base = self.names.grip_site, self.names.base_body
        frame = self.data.xmat[base].reshape(3, 3)
        position = frame.T @ (self.data.site_xpos[site] - self.data.xpos[base])
        rotation = Rotation.from_matrix(frame.T @ self.data.site_xmat[site].reshape(3, 3)) * self._home_rotation
        return Hand(position, rotation, self._closure())

    def home(self) -> None:
        """Puts the arm at its home angles with an open hand, at once."""
        names, data = self.names, self.data
        data.qpos[names.arm_qpos] = names.home
        data.qpos[names.gripper_qpos] = self._fingers_open
        data.ctrl[names.arm_actuators] = names.home
        data.ctrl[names.gripper_actuators] = names.gripper_open
        self.closure_command = 0.0

    def teleport(self, position: np.ndarray, rotation: Rotation) -> None:
        """Puts the hand at a pose at once (for the start of an episode), from the present joint angles."""
        angles = self._solve(self.data.qpos[self.names.arm_qpos], position, rotation, iterations=60)
        self.data.qpos[self.names.arm_qpos] = angles
        self.data.qvel[self.names.arm_dof] = 0.0
        self.data.ctrl[self.names.arm_actuators] = angles

    def move(self, position: np.ndarray, rotation: Rotation, closure_change: float) -> None:
        """Servoes for one control step (0.25 s of physics) towards a pose, changing the hand's closure."""
        names, data = self.names, self.data
        start = data.qpos[names.arm_qpos].copy()
        end = self._solve(start, position, rotation, iterations=IK_ITERATIONS)
        measured = self._closure()
        # Closing goes on from the command (so that a held object stays held), opening from where the fingers are.
        command = min(self.closure_command, measured + SQUEEZE)
        command = float(np.clip(command + closure_change if closure_change >= 0 else min(command, measured) + closure_change, 0.0, 1.0))
        fingers = self.closure_command + (command - self.closure_command) * self._finger_ramp
        self.closure_command = command
        travel = end - start
        steps = round(STEP_S / self.model.opt.timestep) // UPDATES
        for (share, speed), finger in zip(self._profile, fingers, strict=True):
            # The servo damps absolute speed; asking ahead by its lag cancels that, so the joints follow without trailing.
            data.ctrl[names.arm_actuators] = start + travel * share + self._lag_s * travel * speed
            data.ctrl[names.gripper_actuators] = self._command_open + (self._command_closed - self._command_open) * finger
            mujoco.mj_step(self.model, data, steps)
        self.update()

    def settle(self, control_steps: int) -> None:
        """Lets the physics run with the servos as they are."""
        mujoco.mj_step(self.model, self.data, control_steps * round(STEP_S / self.model.opt.timestep))
        self.update()

    def update(self) -> None:
        """Brings places of bodies, cameras and lights up to the present joint positions; a step leaves them one behind."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def _solve(self, start: np.ndarray, position: np.ndarray, rotation: Rotation, iterations: int) -> np.ndarray:
        """Joint angles for a pose by damped least squares from `start`, staying near the home posture where free."""
        names, scratch, model = self.names, self._scratch, self.model
        frame, origin = self.data.xmat[names.base_body].reshape(3, 3), self.data.xpos[names.base_body]
        goal_position = origin + frame @ position
        goal_rotation = frame @ (rotation * self._home_rotation.inv()).as_matrix()
        scratch.qpos[:] = self.data.qpos
        angles = start.copy()
        for _ in range(iterations):
            scratch.qpos[names.arm_qpos] = angles
            mujoco.mj_kinematics(model, scratch)
            mujoco.mj_comPos(model, scratch)
            mujoco.mj_jacSite(model, scratch, self._jacobian[:3], self._jacobian[3:], names.grip_site)
            error = np.concatenate([
                goal_position - scratch.site_xpos[names.grip_site],
                _turn(goal_rotation @ scratch.site_xmat[names.grip_site].reshape(3, 3).T),
            ])
            jacobian = self._jacobian[:, names.arm_dof]
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + IK_DAMPING * np.eye(6))
            posture = POSTURE_GAIN * (names.home - angles)
            change = inverse @ error + posture - inverse @ (jacobian @ posture)
            angles = np.clip(angles + np.clip(change, -0.3, 0.3), self._range[:, 0] + 0.01, self._range[:, 1] - 0.01)
            if np.abs(error).max() < 1e-4:
                break
        return angles

    def _within_reach(self, command: np.ndarray, fingers: np.ndarray) -> np.ndarray:
        """Some hands take commands beyond their stops; sliding fingers are commanded to the stop itself, for proportion."""
        joints = self.model.actuator_trnid[self.names.gripper_actuators, 0]
        stops = dict(zip(self.names.gripper_qpos.tolist(), fingers.tolist(), strict=True))
        slides = self.model.jnt_type[joints] == mujoco.mjtJoint.mjJNT_SLIDE
        return np.array([stops[int(self.model.jnt_qposadr[joint])] if slide else value
                         for joint, slide, value in zip(joints, slides, command, strict=True)])

    def _closure(self) -> float:
        span = self._fingers_closed - self._fingers_open
        return float(np.clip((self.data.qpos[self.names.gripper_qpos] - self._fingers_open) @ span / (span @ span), 0.0, 1.0))

    def _downwards(self) -> Rotation:
        """What turns the site's axes, with the hand straight down and square to the base, into the base's axes."""
        scratch, names = self._scratch, self.names
        scratch.qpos[names.arm_qpos] = names.home
        mujoco.mj_kinematics(self.model, scratch)
        frame = scratch.xmat[names.base_body].reshape(3, 3).T @ scratch.site_xmat[names.grip_site].reshape(3, 3)
        # The nearest right-angled frame that points straight down: robosuite's home poses lean a little.
        yaw = np.arctan2(frame[1, 0], frame[0, 0])
        square = np.round(yaw / (np.pi / 2)) * np.pi / 2
        along, down = np.array([np.cos(square), np.sin(square), 0.0]), np.array([0.0, 0.0, -1.0])
        return Rotation.from_matrix(np.stack([along, np.cross(down, along), down], axis=1)).inv()

    def _finger_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Joint positions of the open and of the closed hand, measured by letting it move in the air."""
        scratch, names = self._scratch, self.names
        ends = []
        for control in (names.gripper_open, names.gripper_closed):
            mujoco.mj_resetData(self.model, scratch)
            scratch.qpos[names.arm_qpos] = names.home
            scratch.ctrl[names.arm_actuators] = names.home
            scratch.ctrl[names.gripper_actuators] = control
            mujoco.mj_step(self.model, scratch, round(1.5 / self.model.opt.timestep))
            ends.append(scratch.qpos[names.gripper_qpos].copy())
        mujoco.mj_resetData(self.model, scratch)
        return ends[0], ends[1]


def limit_rotation(rotation: Rotation) -> Rotation:
    """The nearest allowed rotation of the hand (see LEAN_LIMIT)."""
    euler = rotation.as_euler("xyz")
    return Rotation.from_euler("xyz", np.clip(euler, -LEAN_LIMIT, LEAN_LIMIT))


def _minimum_jerk(updates: int) -> list[tuple[float, float]]:
    """Share of the way, and its speed (1/s), at the middle of each update; at rest at both ends."""
    time = np.minimum((np.arange(updates) + 0.5) / (updates * MOVING_SHARE), 1.0)
    share = 10 * time**3 - 15 * time**4 + 6 * time**5
    speed = 30 * time**2 * (1 - time) ** 2 / (STEP_S * MOVING_SHARE)
    return list(zip(share.tolist(), speed.tolist(), strict=True))


def _turn(matrix: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) of a rotation matrix."""
    quat, vector = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(matrix).reshape(-1))
    mujoco.mju_quat2Vel(vector, quat, 1.0)
    return vector
