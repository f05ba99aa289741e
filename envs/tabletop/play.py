"""Play: aimless but smooth motion through the workspace, often low among the objects, for recording logs."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from envs.tabletop.world import World

SPEED_M = (0.035, 0.095)  # per step of 0.25 s
NEAR_OBJECT = 0.45  # share of the targets that lie low beside an object
PAUSE = 0.03
STEPS_PER_TARGET = 12
ARRIVED_M = 0.04
SMOOTHING = 0.35
LEAN = np.array([0.12, 0.12, 0.6])  # rad


class Player:
    """A behaviour policy that goes from one random target to the next; one per episode."""

    def __init__(self, world: World):
        self._world = world
        self._steps_left = 0
        self._velocity = np.zeros(3)

    def action(self, rng: np.random.Generator) -> np.ndarray:
        """The next action (7,), within the robot's limits."""
        world, spec = self._world, self._world.spec
        hand = world.arm.measure()
        if self._steps_left == 0 or np.linalg.norm(self._target - hand.position) < ARRIVED_M:
            self._choose(rng)
        self._steps_left -= 1
        way = self._target - hand.position
        wanted = way * min(self._speed / max(float(np.linalg.norm(way)), 1e-6), 1.0)
        self._velocity = SMOOTHING * self._velocity + (1.0 - SMOOTHING) * wanted
        move = np.zeros(3) if rng.uniform() < PAUSE else self._velocity + rng.normal(0.0, 0.004, 3)
        turn = (Rotation.from_euler("xyz", self._euler) * hand.rotation.inv()).as_euler("xyz")
        turn = np.clip(0.25 * turn, -0.06, 0.06) + rng.normal(0.0, 0.01, 3)
        return spec.clip(np.concatenate([move, turn, [self._closure - world.arm.closure_command]]))

    def _choose(self, rng: np.random.Generator) -> None:
        low, high = self._world.low, self._world.high
        if rng.uniform() < NEAR_OBJECT:
            objects = self._world.objects()
            target = objects[rng.integers(len(objects))] + rng.normal(0.0, (0.04, 0.04, 0.0))
            target[2] = rng.uniform(0.02, 0.1)
        else:
            target = rng.uniform(low, high)
        self._target = np.clip(target, low, high)
        self._speed = float(rng.uniform(*SPEED_M))
        self._euler = rng.uniform(-LEAN, LEAN)
        self._closure = float(rng.choice((0.0, 0.0, 1.0, rng.uniform())))
        self._steps_left = STEPS_PER_TARGET
