"""The tasks: how each begins, which waypoints solve it, how far one is from its goal and when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from envs.tabletop.expert import Waypoint
from envs.tabletop.world import World

SUCCESS_M = 0.05
REACH_DISTANCE_M = (0.1, 0.25)
# Sub-goals of a long reach lie at most this far apart: about a planning horizon of three steps.
SUBGOAL_M = 0.2
PUSH_M, PUSH_HEIGHT_M = (0.12, 0.18), 0.03
# Distance of the hand's middle from the object's: at the start, and when the closed fingers touch it.
PUSH_APPROACH_M, PUSH_CONTACT_M = 0.1, 0.05
CARRY_M, LIFT_M = (0.12, 0.22), 0.12
HELD_M = 0.05  # between the middles of hand and object
STRAIGHT_DOWN = Rotation.identity()


@dataclass(frozen=True)
class Goal:
    """The state that the simulator reached at the end of the expert's run."""

    hand: np.ndarray  # (7,)
    objects: np.ndarray  # (K, 3) m


class Task(Protocol):
    """A task is stateless: everything it needs is in the world and the goal. Object 0 is the one to act on."""

    def start(self, world: World, rng: np.random.Generator, distance_m: tuple[float, float]) -> list[Waypoint]:
        """Arranges the beginning of an episode and returns waypoints of an expert from there to a goal."""

    def distance_m(self, world: World, goal: Goal) -> float:
        """What is left to do, in metres."""

    def success(self, world: World, goal: Goal) -> bool: ...


class Reach:
    """Bring the hand to a place."""

    def start(self, world: World, rng: np.random.Generator, distance_m: tuple[float, float]) -> list[Waypoint]:
        low, high = world.low, world.high
        begin, end = _pair(rng, low + (0.0, 0.0, 0.08), high, distance_m)
        rotation = Rotation.from_euler("xyz", rng.uniform(-1.0, 1.0, 3) * (0.1, 0.1, 0.3))
        world.arm.teleport(begin, rotation)
        world.refresh()
        world.arm.settle(1)
        return _straight(begin, end, rotation)

    def distance_m(self, world: World, goal: Goal) -> float:
        return float(np.linalg.norm(world.arm.measure().position - goal.hand[:3]))

    def success(self, world: World, goal: Goal) -> bool:
        return self.distance_m(world, goal) < SUCCESS_M


class ReachHolding(Reach):
    """Bring the hand to a place without losing the object in it."""

    def start(self, world: World, rng: np.random.Generator, distance_m: tuple[float, float]) -> list[Waypoint]:
        waypoints = super().start(world, rng, distance_m)
        hand = world.arm.measure()
        world.put_object(0, hand.position, float(hand.rotation.as_euler("xyz")[2]))
        with world.floating(0):
            _close(world)
        world.arm.settle(1)
        return waypoints

    def success(self, world: World, goal: Goal) -> bool:
        return self.distance_m(world, goal) < SUCCESS_M and _held(world)


class Push:
    """Push object 0 to a place with the closed hand."""

    def start(self, world: World, rng: np.random.Generator, distance_m: tuple[float, float]) -> list[Waypoint]:
        block = world.objects()[0]
        direction, length = _free_way(world, rng, block, PUSH_M)
        height = np.array([0.0, 0.0, PUSH_HEIGHT_M - block[2]])
        world.arm.teleport(block + height - direction * PUSH_APPROACH_M, STRAIGHT_DOWN)
        world.refresh()
        _close(world)
        return [
            Waypoint(block + height - direction * PUSH_CONTACT_M, STRAIGHT_DOWN, milestone=False),
            Waypoint(block + height + direction * (length / 2 - PUSH_CONTACT_M), STRAIGHT_DOWN, speed_m=0.05),
            Waypoint(block + height + direction * (length - PUSH_CONTACT_M), STRAIGHT_DOWN, speed_m=0.05),
        ]

    def distance_m(self, world: World, goal: Goal) -> float:
        return _object_distance(world, goal)

    def success(self, world: World, goal: Goal) -> bool:
        return self.distance_m(world, goal) < SUCCESS_M


class Grasp:
    """Take object 0 and lift it."""

    def start(self, world: World, rng: np.random.Generator, distance_m: tuple[float, float]) -> list[Waypoint]:
        return _begin_above(world, rng) + _grasp(world)

    def distance_m(self, world: World, goal: Goal) -> float:
        return _object_distance(world, goal)

    def success(self, world: World, goal: Goal) -> bool:
        return self.distance_m(world, goal) < SUCCESS_M and _held(world)


class PickPlace:
    """Take object 0, carry it to another place and leave it there."""

    def start(self, world: World, rng: np.random.Generator, distance_m: tuple[float, float]) -> list[Waypoint]:
        block = world.objects()[0]
        direction, length = _free_way(world, rng, block, CARRY_M)
        waypoints = _begin_above(world, rng) + _grasp(world)
        down, rotation = waypoints[0].position, waypoints[0].rotation
        place = down + direction * length
        lift = np.array([0.0, 0.0, LIFT_M])
        return [
            *waypoints,
            Waypoint(place + lift, rotation),
            Waypoint(place + (0.0, 0.0, 0.004), rotation, milestone=False, speed_m=0.05),
            Waypoint(place + (0.0, 0.0, 0.004), rotation, closure=0.0, milestone=False),
            Waypoint(place + lift, rotation),
        ]

    def distance_m(self, world: World, goal: Goal) -> float:
        return _object_distance(world, goal)

    def success(self, world: World, goal: Goal) -> bool:
        return self.distance_m(world, goal) < SUCCESS_M and not _held(world)


def _pair(rng: np.random.Generator, low: np.ndarray, high: np.ndarray, distance_m: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Two points of a box whose distance lies in a range."""
    while True:
        begin = rng.uniform(low, high)
        direction = rng.normal(size=3)
        end = begin + direction / np.linalg.norm(direction) * rng.uniform(*distance_m)
        if np.all(end >= low) and np.all(end <= high):
            return begin, end


def _straight(begin: np.ndarray, end: np.ndarray, rotation: Rotation) -> list[Waypoint]:
    """Equal pieces of a straight way, none longer than SUBGOAL_M."""
    pieces = int(np.ceil(np.linalg.norm(end - begin) / SUBGOAL_M))
    return [Waypoint(begin + (end - begin) * (i + 1) / pieces, rotation) for i in range(pieces)]


def _begin_above(world: World, rng: np.random.Generator) -> list[Waypoint]:
    """Starts with the open hand above object 0, a little aside; no waypoints yet."""
    world.arm.teleport(world.objects()[0] + (*rng.uniform(-0.05, 0.05, 2), rng.uniform(0.12, 0.18)), STRAIGHT_DOWN)
    world.refresh()
    world.arm.settle(1)
    return []


def _grasp(world: World) -> list[Waypoint]:
    """Around object 0, closed, lifted."""
    assert world.scene is not None
    block, rotation = world.objects()[0], Rotation.from_euler("z", world.scene.blocks[0].yaw)
    block = np.maximum(block, (-np.inf, -np.inf, world.low[2]))
    return [
        Waypoint(block + (0.0, 0.0, 0.08), rotation),
        Waypoint(block, rotation, milestone=False, speed_m=0.05),
        Waypoint(block, rotation, closure=1.0),
        Waypoint(block + (0.0, 0.0, LIFT_M), rotation, speed_m=0.05),
    ]


def _close(world: World) -> None:
    """Closes the hand where it is."""
    hand = world.arm.measure()
    for _ in range(2):
        world.arm.move(hand.position, hand.rotation, 0.75)


def _held(world: World) -> bool:
    """Is object 0 off the table and in the hand?"""
    assert world.scene is not None
    block, hand = world.objects()[0], world.arm.measure()
    return bool(block[2] > world.scene.blocks[0].half_height + 0.02 and np.linalg.norm(block - hand.position) < HELD_M)


def _object_distance(world: World, goal: Goal) -> float:
    return float(np.linalg.norm(world.objects()[0] - goal.objects[0]))


def _free_way(world: World, rng: np.random.Generator, block: np.ndarray, length_m: tuple[float, float]) -> tuple[np.ndarray, float]:
    """A direction (3,) along the table and a length such that the way leads nowhere near another object or out of reach."""
    others = world.objects()[1:, :2]
    low, high = world.low[:2] + 0.02, world.high[:2] - 0.02
    best, best_gap = (np.array([0.0, -np.sign(block[1]), 0.0]), length_m[0]), -np.inf
    for _ in range(60):
        angle, length = rng.uniform(-np.pi, np.pi), float(rng.uniform(*length_m))
        direction = np.array([np.cos(angle), np.sin(angle), 0.0])
        way = block[:2] + np.outer(np.linspace(-PUSH_APPROACH_M, length, 8), direction[:2])
        gap = float(np.linalg.norm(way[:, None] - others, axis=2).min())
        if np.all(way >= low) and np.all(way <= high) and gap > best_gap:
            best, best_gap = (direction, length), gap
    return best


TASKS: dict[str, Task] = {
    "reach": Reach(), "reach_holding": ReachHolding(), "push": Push(), "grasp": Grasp(), "pick_place": PickPlace(),
}
