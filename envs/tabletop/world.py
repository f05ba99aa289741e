"""The simulated table: one model, one state, and what can be done to it. No tasks, no pictures, no Gymnasium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from envs.tabletop.arm import Arm, limit_rotation
from envs.tabletop.model import build
from envs.tabletop.scene import Scene, apply_scene, place_blocks
from lamplan.errors import InputError
from lamplan.robot import RobotSpec

_PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass(frozen=True)
class WorldState:
    """Everything that decides how the world goes on, bit for bit."""

    physics: np.ndarray
    closure_command: float
    scene: Scene


class World:
    """A robot arm at a table with free objects, moved in steps of 0.25 s by displacements of the measured hand."""

    def __init__(self, robot: str, spec: RobotSpec):
        self.model, self.names = build(robot)
        self.data = mujoco.MjData(self.model)
        self.arm = Arm(self.model, self.data, self.names)
        self.spec = spec
        if spec.workspace_low is None or spec.workspace_high is None:
            raise InputError(f"the robot description of {spec.name} lacks a [workspace] with low and high, in metres.")
        self.low, self.high = spec.workspace_low, spec.workspace_high  # box for the hand, base frame, m
        self.scene: Scene | None = None

    def set_scene(self, scene: Scene) -> None:
        """Starts afresh: the scene's look and objects, the arm at home with an open hand, nothing moving."""
        self._apply(scene)
        mujoco.mj_resetData(self.model, self.data)
        self.arm.home()
        place_blocks(self.model, self.data, self.names, scene)
        mujoco.mj_forward(self.model, self.data)

    def step(self, action: np.ndarray) -> None:
        """One control step; `action` (7,) as described by the robot's `RobotSpec`, already within its limits."""
        hand = self.arm.measure()
        position = np.clip(hand.position + action[:3], self.low, self.high)
        rotation = limit_rotation(Rotation.from_euler("xyz", action[3:6]) * hand.rotation)
        self.arm.move(position, rotation, float(action[6]))

    def objects(self) -> np.ndarray:
        """(K, 3) centres of the objects on the table, base frame, m."""
        assert self.scene is not None
        bodies = list(self.names.objects[:len(self.scene.blocks)])
        return self.data.xpos[bodies] - self.data.xpos[self.names.base_body]

    def object_poses(self) -> dict[str, np.ndarray]:
        """Pose (7,) [xyz m, quaternion wxyz] of every object, base frame, by name."""
        assert self.scene is not None
        positions = self.objects()
        return {f"object{i}": np.concatenate([positions[i], self.data.xquat[self.names.objects[i]]])
                for i in range(len(self.scene.blocks))}

    def put_object(self, index: int, position: np.ndarray, yaw: float) -> None:
        """Moves an object at once (for the start of an episode)."""
        address, dof = self.names.object_qpos[index], self.names.object_dof[index]
        self.data.qpos[address:address + 3] = self.data.xpos[self.names.base_body] + position
        self.data.qpos[address + 3:address + 7] = np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)
        self.data.qvel[dof:dof + 6] = 0.0

    @contextmanager
    def floating(self, index: int) -> Iterator[None]:
        """Takes the weight off an object for a while, so that the hand can close around it in the air."""
        body = self.names.objects[index]
        self.model.body_gravcomp[body] = 1.0
        mujoco.mj_forward(self.model, self.data)
        yield
        self.model.body_gravcomp[body] = 0.0

    def refresh(self) -> None:
        """Brings derived quantities up to date after positions were written."""
        mujoco.mj_forward(self.model, self.data)

    def get_state(self) -> WorldState:
        assert self.scene is not None
        physics = np.empty(mujoco.mj_stateSize(self.model, _PHYSICS))
        mujoco.mj_getState(self.model, self.data, physics, _PHYSICS)
        return WorldState(physics, self.arm.closure_command, self.scene)

    def set_state(self, state: WorldState) -> None:
        if state.scene != self.scene:
            self._apply(state.scene)
        mujoco.mj_setState(self.model, self.data, state.physics, _PHYSICS)
        self.arm.closure_command = state.closure_command
        self.arm.update()

    def _apply(self, scene: Scene) -> None:
        apply_scene(self.model, self.data, self.names, scene)
        self.scene = scene
