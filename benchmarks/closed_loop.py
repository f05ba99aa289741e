"""Receding horizon in the simulator: look, plan, execute the plan's first actions, look again; several episodes side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.forbidden_box import Boxes
from benchmarks.policies import Policy, Situation
from benchmarks.subgoals import Subgoals

Encode = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Setting:
    """An episode has `plans` plans, of each of which `execute` actions are executed; a sub-goal is pursued for `patience` plans.

    A plan that is judged by its last frame alone leaves open how its motion is divided among its steps, so the first action by
    itself sways about: an arm executes short plans whole. `stops`: whether reaching the task's success ends the episode. Where
    the final distance is measured it does not, since a robot is not told where it is. `subgoals`: whether the images on the way
    are given, or only the last. `box_half_m`: half edge of a forbidden cube midway between start and goal, if there is one.
    """

    plans: int
    execute: int
    patience: int
    stops: bool
    subgoals: bool = True
    box_half_m: float | None = None


@dataclass
class Track:
    """What happened in one episode: T steps."""

    states: list[np.ndarray] = field(default_factory=list)  # T+1 of (S,)
    frames: list[np.ndarray] = field(default_factory=list)  # T+1 of (H, W, 3)
    goals: list[np.ndarray] = field(default_factory=list)  # T of (H, W, 3), the sub-goal pursued
    predicted: list[np.ndarray] = field(default_factory=list)  # T of (P, D), the end of the plan, where the policy predicts
    distance_m: list[float] = field(default_factory=list)  # T+1
    success: bool = False
    collided: bool = False
    shortest_path_m: float = np.nan
    over: bool = False

    @property
    def path_m(self) -> float:
        """Length of the way travelled, over the ground for a mobile robot."""
        positions = np.array(self.states)[:, : 2 if len(self.states[0]) == 3 else 3]
        return float(np.linalg.norm(np.diff(positions, axis=0), axis=1).sum())


class ClosedLoop:
    """Runs policies through the same episodes: the same seeds, sub-goals and budgets.

    envs:    simulators, one for each episode that runs side by side.
    camera:  observation key that policies see.
    encode:  images (B, H, W, 3) to features (B, P, D), for judging sub-goals by the camera alone.
    options: what the simulators' `reset` is told.
    """

    def __init__(self, envs: Sequence[Any], camera: str, encode: Encode, setting: Setting, options: dict[str, Any] | None = None) -> None:
        self.envs, self.camera, self.encode, self.setting, self.options = envs, camera, encode, setting, options

    def run(self, policy: Policy, seeds: Sequence[int]) -> tuple[list[Track], Boxes | None]:
        """One track per seed, and the forbidden boxes if the setting has them."""
        tracks: list[Track] = []
        boxes: list[Boxes] = []
        size = len(self.envs)
        with tqdm(total=len(seeds), desc=policy.name, unit="episode") as bar:
            for first in range(0, len(seeds), size):
                group, box = self._run_group(policy, seeds[first : first + size])
                tracks += group
                boxes += [box] if box else []
                bar.update(len(group))
        if not boxes:
            return tracks, None
        return tracks, Boxes(np.concatenate([box.low for box in boxes]), np.concatenate([box.high for box in boxes]))

    def _run_group(self, policy: Policy, seeds: Sequence[int]) -> tuple[list[Track], Boxes | None]:
        policy.reset()
        started = [env.reset(seed=int(seed), options=self.options) for env, seed in zip(self.envs, seeds, strict=False)]
        infos = [info for _, info in started]
        tracks = [Track(shortest_path_m=float(info.get("shortest_path_m", np.nan))) for info in infos]
        for track, (observation, info) in zip(tracks, started, strict=True):
            _note(track, observation, info, self.camera)
        given = [info["subgoal_images"] if self.setting.subgoals else info["goal_image"][None] for info in infos]
        plans = [Subgoals(self.encode(images), self.setting.patience) for images in given]
        boxes = None
        if self.setting.box_half_m is not None:
            starts = np.stack([track.states[0][:3] for track in tracks])
            boxes = Boxes.between(starts, np.stack([info["goal_state"][:3] for info in infos]), self.setting.box_half_m)
        for look in range(self.setting.plans):
            active = np.array([i for i, track in enumerate(tracks) if not track.over], dtype=int)
            if len(active) == 0:
                break
            images = np.stack([tracks[i].frames[-1] for i in active])
            aims = [plans[i].update(seen) for i, seen in zip(active, self.encode(images), strict=True)]
            goals = np.stack([given[i][aim] for i, aim in zip(active, aims, strict=True)])
            constraint = None
            if boxes is not None:
                constraint = boxes.constraint(np.stack([tracks[i].states[-1][:3] for i in active]), active)
            decision = policy.decide(Situation(images, goals, int(seeds[0]) * 1000 + look, _world(self.envs, active), constraint))
            for b, i in enumerate(active):
                predicted = None if decision.predicted is None else decision.predicted[b]
                self._execute(self.envs[i], decision.actions[b, : self.setting.execute], tracks[i], goals[b], predicted)
        return tracks, boxes

    def _execute(self, env: Any, actions: np.ndarray, track: Track, goal: np.ndarray, predicted: np.ndarray | None) -> None:
        for action in actions:
            observation, _, terminated, truncated, info = env.step(action)
            track.goals.append(goal)
            if predicted is not None:
                track.predicted.append(predicted)
            _note(track, observation, info, self.camera)
            track.over = bool(terminated or truncated or (track.success and self.setting.stops))
            if track.over:
                return


def _world(envs: Sequence[Any], active: np.ndarray) -> Callable[[int], Any]:
    return lambda b: envs[active[b]]


def _note(track: Track, observation: dict[str, np.ndarray], info: dict[str, Any], camera: str) -> None:
    track.states.append(np.asarray(observation["proprio"], dtype=np.float64))
    track.frames.append(observation[camera])
    track.distance_m.append(float(info["distance_m"]))
    track.success = bool(info["success"])
    track.collided = track.collided or bool(info.get("collision", False))
