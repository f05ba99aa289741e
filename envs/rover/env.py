"""`RoverEnv`: drive to the place where a picture was taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces

from envs.rover import drivers
from envs.rover.camera import Camera
from envs.rover.chassis import CAMERA, RADIUS_M
from envs.rover.drive import CONTROL_S, Drive, pose
from envs.rover.layout import make_layout
from envs.rover.maps import ObstacleMap, path_length
from envs.rover.scene import build_model
from lamplan.errors import InputError
from lamplan.robot import RobotSpec

ROBOT = Path(__file__).resolve().parents[2] / "controllers" / "rover"
SUCCESS_M = 0.5
GOAL_M = (4.0, 10.0)
SUBGOAL_M = 2.0
ARRIVED_M = 0.15
MAX_TRIP_STEPS = 80
START_CLEARANCE_M = 0.9
SETTLE_S = 0.4
TRIES, TRIES_PER_SCENE = 60, 6

Observation = dict[str, np.ndarray]
_PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass(frozen=True)
class RoverState:
    """A snapshot from `get_state`; valid in the scene in which it was taken."""

    scene_seed: int
    physics: np.ndarray
    mood: drivers.Mood


@dataclass(frozen=True)
class _Trip:
    """A drive that really happened: poses (K+1, 3), actions (K, 3), and pictures taken on the way, the last at the end."""

    states: np.ndarray
    actions: np.ndarray
    images: np.ndarray


class _Recorder:
    """Collects a trip."""

    def __init__(self, start: np.ndarray) -> None:
        self.images: list[np.ndarray] = []
        self._states = [start]
        self._actions: list[np.ndarray] = []

    def add(self, action: np.ndarray, state: np.ndarray) -> None:
        self._actions.append(action)
        self._states.append(state)

    def end(self, image: np.ndarray) -> _Trip:
        return _Trip(np.array(self._states), np.array(self._actions), np.array([*self.images, image]))


class RoverEnv(gym.Env[Observation, np.ndarray]):
    """A skid-steer rover in a random outdoor scene; 4 Hz, action (dx m, dy m, dyaw rad) in the robot's frame.

    Observation: `front_image` (S, S, 3) uint8 and `proprio` float32 [x m, y m, yaw rad] in the world frame. The reward is the
    negative distance to the goal in m. An episode ends (terminated) only when the rover lies on its side or back; reaching
    the goal and touching things are reported in `info`. See `envs.rover.drive` for what becomes of dy.

    `info`: `pose` (3,), `collision`, `success` (within 0.5 m of the goal), `distance_m`. At reset also `goal_image`,
    `goal_state` (3,), `shortest_path_m`, and of the drive that found the goal: `subgoal_images`, a list of images about
    every 2 m and last the goal's, `expert_states`, a list of K + 1 poses, and `expert_actions`, a list of K actions.

    Reset options: `goal_steps` = K puts the goal where a smooth drive of exactly K steps ends; without it the goal lies
    4-10 m away along a free path.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_S)}

    def __init__(self, image_size: int = 128, roughness_m: float | None = None, render_mode: str | None = None) -> None:
        """`roughness_m`: height of the ground's swells, 0 for flat ground; drawn by the seed if None."""
        if image_size < 16:
            raise InputError(f"image_size is {image_size}; give at least 16 pixels.")
        if roughness_m is not None and not 0.0 <= roughness_m <= 1.0:
            raise InputError(f"roughness_m is {roughness_m}; give a height between 0 and 1 m, or None.")
        self.render_mode = render_mode
        self.robot_spec = RobotSpec.load(ROBOT)
        low, high = (v.astype(np.float32) for v in (self.robot_spec.low, self.robot_spec.high))
        self.action_space = spaces.Box(low, high, dtype=np.float32)
        self.observation_space = spaces.Dict({
            "front_image": spaces.Box(0, 255, (image_size, image_size, 3), np.uint8),
            "proprio": spaces.Box(-np.inf, np.inf, (3,), np.float32),
        })
        self._roughness_m = roughness_m
        self._camera = Camera(CAMERA, image_size)
        self._scene_seed = -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        goal_steps = _goal_steps(options)
        for attempt in range(TRIES):
            if attempt % TRIES_PER_SCENE == 0:
                self._build(int(self.np_random.integers(2**31)))
            start, drive = self._drive_steps(goal_steps) if goal_steps else self._drive_far()
            if drive is not None:
                break
        else:
            raise RuntimeError(f"found no goal that can be driven to in {TRIES} tries from seed {seed}; report this seed.")
        self.set_state(start)
        self._goal = drive.states[-1]
        info = self._info(collision=False) | {
            "goal_image": drive.images[-1],
            "goal_state": self._goal.copy(),
            # Lists, since lengths differ between episodes: Gymnasium's vector environments stack arrays only of one shape.
            "subgoal_images": list(drive.images),
            "shortest_path_m": self._shortest_m(drive.states[:, :2]),
            "expert_states": list(drive.states),
            "expert_actions": list(drive.actions),
        }
        return self.render_observation(), info

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (3,) or not np.isfinite(action).all():
            raise InputError(f"the rover's action is {action.tolist()}; expected 3 finite numbers: dx (m), dy (m), dyaw (rad).")
        info = self._info(self._execute(action))
        return self.render_observation(), -info["distance_m"], self._overturned(), False, info

    def render(self) -> np.ndarray | None:
        return self._camera.render(self._data) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        self._camera.close()

    def render_observation(self) -> Observation:
        """The observation of the present state."""
        return {"front_image": self._camera.render(self._data), "proprio": self._pose().astype(np.float32)}

    def get_state(self) -> RoverState:
        """A snapshot of the physics and of `random_motion`, for `set_state`."""
        physics = np.empty(mujoco.mj_stateSize(self._model, _PHYSICS))
        mujoco.mj_getState(self._model, self._data, physics, _PHYSICS)
        return RoverState(self._scene_seed, physics, self._mood)

    def set_state(self, state: RoverState) -> None:
        """Goes back to a snapshot exactly. The goal stays as it is."""
        if state.scene_seed != self._scene_seed:
            raise InputError("this state was taken in another scene: a state holds until the next reset.")
        mujoco.mj_setState(self._model, self._data, state.physics, _PHYSICS)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._mood = state.mood

    def simulate(self, actions: np.ndarray) -> tuple[list[Observation], np.ndarray]:
        """Tries N action sequences (N, H, 3) from the present state and comes back to it.

        Returns the N final observations and final poses (N, 3).
        """
        actions = np.asarray(actions, dtype=np.float64)
        if actions.ndim != 3 or actions.shape[2] != 3 or not np.isfinite(actions).all():
            raise InputError(f"actions to simulate have shape {actions.shape}; expected finite numbers of shape (N, H, 3).")
        start = self.get_state()
        observations, poses = [], []
        for sequence in actions:
            for action in sequence:
                self._execute(action)
            observations.append(self.render_observation())
            poses.append(self._pose())
            self.set_state(start)
        return observations, np.array(poses).reshape(-1, 3)

    def random_motion(self, rng: np.random.Generator) -> np.ndarray:
        """Next action (3,) of a wandering driver that mostly avoids obstacles: play data for a controller."""
        action, self._mood = drivers.wander(rng, self._mood, self._pose(), self._map)
        return self.robot_spec.clip(action)

    def _build(self, scene_seed: int) -> None:
        rng = np.random.default_rng(scene_seed)
        self._scene_seed = scene_seed
        self._layout = make_layout(rng, self._roughness_m)
        self._map = ObstacleMap(self._layout)
        self._model = build_model(self._layout, rng)
        self._data = mujoco.MjData(self._model)
        self._drive = Drive(self._model)
        self._camera.load(self._model)

    def _place(self, x: float, y: float, yaw: float) -> RoverState:
        """Puts the rover on the ground at rest."""
        mujoco.mj_resetData(self._model, self._data)
        corners = [(x + a, y + b) for a in (-0.3, 0.3) for b in (-0.3, 0.3)]
        height = max(self._layout.height(a, b) for a, b in corners) + 0.02
        self._data.qpos[:7] = [x, y, height, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        self._drive.brake(self._data, SETTLE_S)
        self._mood = drivers.Mood()
        return self.get_state()

    def _drive_far(self) -> tuple[RoverState, _Trip | None]:
        """A trip along the shortest way to a random place 4-10 m off."""
        x, y = self._map.free_place(self.np_random, START_CLEARANCE_M)
        paths = self._map.paths_from((x, y), drivers.SAFE_M)
        place = paths.place(self.np_random, *GOAL_M)
        path = None if place is None else paths.way(place)
        if path is None:
            return self._place(x, y, 0.0), None
        dx, dy = path[1] - path[0]
        start = self._place(x, y, float(np.arctan2(dy, dx) + self.np_random.uniform(-0.5, 0.5)))
        progress, trip, next_image = 0.0, _Recorder(self._pose()), SUBGOAL_M
        for _ in range(MAX_TRIP_STEPS):
            action, progress = drivers.follow(path, progress, self._pose())
            if self._execute(action):
                return start, None
            trip.add(action, self._pose())
            if np.hypot(*(self._pose()[:2] - path[-1])) < ARRIVED_M:
                return start, trip.end(self._camera.render(self._data))
            if progress >= next_image:
                trip.images.append(self._camera.render(self._data))
                next_image += SUBGOAL_M
        return start, None

    def _drive_steps(self, steps: int) -> tuple[RoverState, _Trip | None]:
        """A smooth trip of exactly `steps` steps without a turn on the spot."""
        x, y = self._map.free_place(self.np_random, START_CLEARANCE_M)
        start = self._place(x, y, float(self.np_random.uniform(-np.pi, np.pi)))
        mood, trip = drivers.Mood(), _Recorder(self._pose())
        for _ in range(steps):
            action, mood = drivers.wander(self.np_random, mood, self._pose(), self._map, in_place=False)
            action = self.robot_spec.clip(action)
            if mood.forward_m == 0.0 or self._execute(action):
                return start, None
            trip.add(action, self._pose())
        return start, trip.end(self._camera.render(self._data))

    def _execute(self, action: np.ndarray) -> bool:
        return self._drive.step(self._data, self.robot_spec.clip(action))

    def _pose(self) -> np.ndarray:
        return np.array(pose(self._data))

    def _overturned(self) -> bool:
        _, i, j, _ = self._data.qpos[3:7]
        return bool(1 - 2 * (i * i + j * j) < 0.3)

    def _shortest_m(self, driven: np.ndarray) -> float:
        """Length of the shortest way from the first to the last of the driven places (K+1, 2)."""
        way = self._map.paths_from((driven[0, 0], driven[0, 1]), RADIUS_M).way((driven[-1, 0], driven[-1, 1]))
        length = path_length(driven)
        return length if way is None else min(length, path_length(way))

    def _info(self, collision: bool) -> dict[str, Any]:
        here = self._pose()
        distance = float(np.hypot(*(here[:2] - self._goal[:2])))
        return {"pose": here, "collision": collision, "success": distance <= SUCCESS_M, "distance_m": distance}


def _goal_steps(options: dict[str, Any] | None) -> int | None:
    unknown = set(options or {}) - {"goal_steps"}
    if unknown:
        raise InputError(f"unknown reset option {', '.join(sorted(unknown))}; the rover knows goal_steps.")
    steps = (options or {}).get("goal_steps")
    if steps is not None and (not isinstance(steps, int) or steps < 1):
        raise InputError(f"goal_steps is {steps!r}; give a whole number of steps, 1 or more.")
    return steps
