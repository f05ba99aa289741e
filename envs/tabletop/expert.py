"""A scripted expert: brings the hand through waypoints by ordinary actions, looking at the simulation's true state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from envs.tabletop.world import World

ARRIVED_M = 0.008
ARRIVED_RAD = 0.05
MAX_STEPS = 25  # per waypoint: a blocked hand goes on to the next


@dataclass(frozen=True)
class Waypoint:
    """Where the hand should be (base frame, m and rad), and how closed; `milestone` marks a sub-goal worth a picture."""

    position: np.ndarray
    rotation: Rotation
    closure: float | None = None  # None: as it is
    speed_m: float = 0.08  # per step
    milestone: bool = True


def follow(world: World, waypoint: Waypoint) -> Iterator[np.ndarray]:
    """Actions (7,) towards a waypoint, each from the state at the time it is asked for; ends on arrival."""
    for _ in range(MAX_STEPS):
        hand = world.arm.measure()
        way = waypoint.position - hand.position
        turn = (waypoint.rotation * hand.rotation.inv()).as_euler("xyz")
        close = 0.0 if waypoint.closure is None else waypoint.closure - world.arm.closure_command
        if np.linalg.norm(way) < ARRIVED_M and np.abs(turn).max() < ARRIVED_RAD and abs(close) < 0.02:
            return
        way = way * min(waypoint.speed_m / max(float(np.linalg.norm(way)), 1e-9), 1.0)
        yield world.spec.clip(np.concatenate([way, turn, [close]]))
