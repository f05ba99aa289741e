"""The closed-loop tasks of the arm and what is measured in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.closed_loop import ClosedLoop, Encode, Setting, Track
from benchmarks.forbidden_box import Boxes
from benchmarks.policies import Policy
from lamplan.report import Results

NEAR_M = 0.05  # the distance at which a reach counts
NEARER_M = 0.01  # by how much an episode must end nearer than it began: the arm sways by millimetres when told to stand still
SEED_OFFSET = 100_000  # between the open-loop episodes and these


@dataclass(frozen=True)
class ArmTask:
    """`env_task`: the environment's task. `distance_m`: range from start to goal, the environment's own if None."""

    env_task: str
    setting: Setting
    distance_m: tuple[float, float] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What the environment's `reset` is told."""
        return {} if self.distance_m is None else {"distance_m": self.distance_m}


TASKS = {
    "reach": ArmTask("reach", Setting(plans=5, execute=3, patience=2, stops=False)),
    "reach_holding": ArmTask("reach_holding", Setting(plans=5, execute=3, patience=2, stops=False)),
    "push": ArmTask("push", Setting(plans=10, execute=3, patience=3, stops=True)),
    "grasp": ArmTask("grasp", Setting(plans=10, execute=3, patience=3, stops=True)),
    "pick_place": ArmTask("pick_place", Setting(plans=16, execute=3, patience=3, stops=True)),
    # Several horizons away, since three steps move the gripper 0.16-0.25 m in recorded play; the goal image is all there is.
    "reach_far": ArmTask("reach", Setting(plans=8, execute=3, patience=8, stops=False, subgoals=False), (0.35, 0.5)),
    "forbidden_box": ArmTask("reach", Setting(plans=8, execute=3, patience=8, stops=False, subgoals=False, box_half_m=0.05), (0.28, 0.4)),
}


@contextmanager
def simulators(make: Callable[[str], Any], task: ArmTask, count: int) -> Iterator[list[Any]]:
    """`count` simulators of a task, closed at the end: each holds a renderer."""
    envs = [make(task.env_task) for _ in range(count)]
    try:
        yield envs
    finally:
        for env in envs:
            env.close()


def run_task(name: str, policies: Sequence[Policy], envs: list[Any], seeds: Mapping[str, Sequence[int]], camera: str,
             encode: Encode, results: Results) -> dict[str, list[Track]]:
    """Runs every policy through the episodes of its seeds and adds its rows; returns the tracks by policy."""
    task = TASKS[name]
    loop = ClosedLoop(envs, camera, encode, task.setting, task.options)
    found = {}
    for policy in policies:
        tracks, boxes = loop.run(policy, seeds[policy.name])
        add_rows(results, policy.name, name, tracks, boxes)
        found[policy.name] = tracks
    return found


def add_rows(results: Results, name: str, task: str, tracks: list[Track], boxes: Boxes | None) -> None:
    """Final distance, nearer than at the start (by a centimetre), success, and for a forbidden box how often it was entered."""
    final, first = (np.array([track.distance_m[i] for track in tracks]) for i in (-1, 0))
    nearer = final < first - NEARER_M
    results.add(name, task, "final_distance", "m", final)
    results.add(name, task, "nearer", "share", nearer)
    results.add(name, task, "success", "share", np.array([track.success for track in tracks]))
    if TASKS[task].env_task.startswith("reach"):
        results.add(name, task, "within_5cm", "share", final <= NEAR_M)
    if boxes is not None:
        entered = boxes.crossed([np.array(track.states)[:, :3] for track in tracks])
        results.add(name, task, "box_entered", "share", entered)
        results.add(name, task, "nearer_and_outside", "share", nearer & ~entered)
