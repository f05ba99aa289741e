"""`lamplan/Tabletop-v0`: a robot arm at a table, asked by a goal image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from envs.tabletop.expert import follow
from envs.tabletop.play import Player
from envs.tabletop.render import Camera
from envs.tabletop.scene import sample_scene
from envs.tabletop.tasks import REACH_DISTANCE_M, TASKS, Goal
from envs.tabletop.world import World, WorldState
from lamplan.errors import InputError
from lamplan.robot import RobotSpec

ROBOT_FOLDER = Path(__file__).parents[2] / "controllers" / "panda"
LONGEST_REACH_M = 0.6
PROPRIO_LIMIT = np.array([2.0, 2.0, 2.0, np.pi, np.pi, np.pi, 1.0], dtype=np.float32)
PROPRIO_SPACE = gym.spaces.Box(-PROPRIO_LIMIT, PROPRIO_LIMIT)

Observation = dict[str, np.ndarray]


@dataclass(frozen=True)
class State:
    """What `get_state` returns: the world and the goal of the episode."""

    world: WorldState
    goal: Goal


class TabletopEnv(gym.Env[Observation, np.ndarray]):
    """A robosuite arm at a table, moved by displacements of its hand at 4 Hz.

    Observation: `exterior_image` and, unless `wrist=False`, `wrist_image` (image_size, image_size, 3) uint8; `proprio` (7,)
    float32 [xyz m, euler rad (rotation of the hand from pointing straight down), gripper 0 open - 1 closed], base frame.
    Action (7,): [Δxyz m, Δeuler rad, Δgripper], a displacement of the hand as measured now, in the base frame. Actions
    beyond the robot's limits are cut to them; the hand stays in the workspace of `robot_spec`.
    `reset(options={"distance_m": (low, high)})` sets the range of distances from start to goal of the reaching tasks.
    An episode has no end of its own (the time limit truncates it); the reward is minus the distance to the goal.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(self, task: str = "reach", robot: str = "Panda", image_size: int = 128, wrist: bool = True,
                 render_mode: str | None = None):
        if task not in TASKS:
            raise InputError(f"task is '{task}', expected one of {', '.join(TASKS)}.")
        spec = RobotSpec.load(ROBOT_FOLDER)
        self.robot_spec = dataclasses.replace(spec, name=robot.lower())
        self.task_name, self.render_mode = task, render_mode
        self.world = World(robot, self.robot_spec)
        self._task = TASKS[task]
        self._camera = Camera(self.world.model, image_size)
        self._wrist = wrist
        self._player = Player(self.world)
        self._goal: Goal | None = None
        image = gym.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        images = {"exterior_image": image, "wrist_image": image} if wrist else {"exterior_image": image}
        self.observation_space = gym.spaces.Dict({**images, "proprio": PROPRIO_SPACE})
        self.action_space = gym.spaces.Box(spec.low.astype(np.float32), spec.high.astype(np.float32), dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """A new episode. `info` also holds `goal_image`, `goal_state` (7,) and `subgoal_images` (K, H, W, 3), last = goal."""
        distance_m = _distance_range(options)
        super().reset(seed=seed)
        scene_rng, task_rng = self.np_random.spawn(2)
        self.world.set_scene(sample_scene(scene_rng))
        self.world.arm.settle(1)
        self._waypoints = self._task.start(self.world, task_rng, distance_m)
        start = self.world.get_state()
        pictures = []
        for waypoint in self._waypoints:
            for action in follow(self.world, waypoint):
                self.world.step(action)
            if waypoint.milestone:
                pictures.append(self._exterior())
        self._goal = Goal(self.world.arm.measure().vector(), self.world.objects())
        self.world.set_state(start)
        self._player = Player(self.world)
        goal_info = {"goal_image": pictures[-1], "goal_state": self._goal.hand.astype(np.float32),
                     "subgoal_images": np.stack(pictures)}
        return self.render_observation(), self._info() | goal_info

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self.world.step(self._checked(action))
        info = self._info()
        return self.render_observation(), -info["distance_m"], False, False, info

    def render_observation(self) -> Observation:
        """The observation of the present state."""
        images = {"exterior_image": self._exterior()}
        if self._wrist:
            images["wrist_image"] = self._camera.image(self.world.data, self.world.names.wrist)
        return {**images, "proprio": self.world.arm.measure().vector().astype(np.float32)}

    def render(self) -> np.ndarray | None:
        return self._exterior() if self.render_mode == "rgb_array" else None

    def get_state(self) -> State:
        """The present state, to come back to with `set_state`."""
        return State(self.world.get_state(), self._present_goal())

    def set_state(self, state: State) -> None:
        """Restores a state exactly: from it, equal actions give equal results."""
        self.world.set_state(state.world)
        self._goal = state.goal

    def simulate(self, actions: np.ndarray, render: bool = True) -> tuple[list[Observation], np.ndarray]:
        """Tries N plans (N, H, A) from the present state, then comes back to it.

        Returns the N final observations (none if not `render`, which is much faster) and the final proprioception (N, 7).
        """
        start, observations, proprio = self.get_state(), [], []
        for plan in np.asarray(actions):
            for action in plan:
                self.world.step(self._checked(action))
            proprio.append(self.world.arm.measure().vector())
            if render:
                observations.append(self.render_observation())
            self.set_state(start)
        return observations, np.array(proprio, dtype=np.float32).reshape(-1, 7)

    def random_motion(self, rng: np.random.Generator) -> np.ndarray:
        """The next action (7,) of aimless play, for recording logs."""
        return self._player.action(rng).astype(np.float32)

    def expert(self) -> Iterator[np.ndarray]:
        """Actions (7,) of the scripted expert from the start of the episode to its goal; step with each before the next."""
        for waypoint in self._waypoints:
            yield from follow(self.world, waypoint)

    def close(self) -> None:
        self._camera.close()

    def _exterior(self) -> np.ndarray:
        return self._camera.image(self.world.data, self.world.names.exterior)

    def _present_goal(self) -> Goal:
        if self._goal is None:
            raise InputError("the environment has no episode yet: call reset() first.")
        return self._goal

    def _checked(self, action: np.ndarray) -> np.ndarray:
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (7,) or not np.isfinite(action).all():
            raise InputError(f"an action holds 7 finite numbers [Δxyz, Δeuler, Δgripper], found {action.tolist()}.")
        return self.robot_spec.clip(action)

    def _info(self) -> dict[str, Any]:
        goal = self._present_goal()
        return {
            "ee_pose": self.world.arm.measure().vector(), "object_poses": self.world.object_poses(),
            "distance_m": self._task.distance_m(self.world, goal), "success": self._task.success(self.world, goal),
        }


def _distance_range(options: dict[str, Any] | None) -> tuple[float, float]:
    low, high = (options or {}).get("distance_m", REACH_DISTANCE_M)
    if not 0.0 < low <= high <= LONGEST_REACH_M:
        raise InputError(f"distance_m is ({low}, {high}), expected 0 < low <= high <= {LONGEST_REACH_M} (the workspace).")
    return float(low), float(high)
