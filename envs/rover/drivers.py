"""Two scripted drivers: one wanders (play data), one follows a path (goals that were really reached)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.rover.chassis import RADIUS_M
from envs.rover.drive import wrap
from envs.rover.maps import ObstacleMap

SPEED_M = 0.25
MAX_TURN_RAD = 0.3
LOOK_AHEAD_STEPS = 9
SAFE_M = RADIUS_M + 0.1

_TURNS = np.linspace(-MAX_TURN_RAD, MAX_TURN_RAD, 13)


@dataclass(frozen=True)
class Mood:
    """What the wanderer is doing: forward m and turn rad per step, and for how many more steps."""

    forward_m: float = SPEED_M
    turn_rad: float = 0.0
    steps_left: int = 0


def wander(rng: np.random.Generator, mood: Mood, pose: np.ndarray, free: ObstacleMap, in_place: bool = True) -> tuple[np.ndarray, Mood]:
    """Next action (dx, dy, dyaw) of a smooth drive that keeps away from obstacles, and the mood to hand in next time.

    Steering persists for 1-3 s (4-12 steps); now and then the rover turns on the spot, if `in_place`.
    """
    if mood.steps_left <= 0:
        mood = _new_mood(rng, in_place)
    forward = mood.forward_m
    turn = mood.turn_rad + rng.normal(0, 0.01)
    if forward > 0:
        room = _room(pose, forward, np.append(_TURNS, turn), free)
        # Too close already: then at least no closer.
        safe = min(SAFE_M, float(free.clearance(pose[:1], pose[1:2])[0]) - 0.02)
        if room[-1] < safe:
            fitting = np.flatnonzero(room[:-1] >= safe)
            if len(fitting):
                turn = float(_TURNS[fitting[np.argmin(np.abs(_TURNS[fitting] - turn))]])
                mood = Mood(mood.forward_m, turn, max(mood.steps_left, 3))
            else:
                # Nowhere to drive: turn on the spot, towards the side with more room, until a way opens.
                side = 1.0 if room[7:13].mean() >= room[:6].mean() else -1.0
                mood = Mood(0.0, side * MAX_TURN_RAD, 4)
                forward, turn = 0.0, mood.turn_rad
        forward *= 1.0 + rng.normal(0, 0.02)
    turn = float(np.clip(turn, -MAX_TURN_RAD - 0.03, MAX_TURN_RAD + 0.03))
    action = np.array([forward * math.cos(turn / 2), forward * math.sin(turn / 2), turn])
    return action, Mood(mood.forward_m, mood.turn_rad, mood.steps_left - 1)


def follow(path: np.ndarray, progress_m: float, pose: np.ndarray) -> tuple[np.ndarray, float]:
    """Next action towards a point ahead on the path (K, 2), and how far along the path (m) the rover has come."""
    legs = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(legs)])
    ahead = np.linspace(progress_m, min(progress_m + 0.6, along[-1]), 13)
    near = np.hypot(np.interp(ahead, along, path[:, 0]) - pose[0], np.interp(ahead, along, path[:, 1]) - pose[1])
    progress_m = float(ahead[int(np.argmin(near))])
    target_m = min(progress_m + 0.55, along[-1])
    dx, dy = np.interp(target_m, along, path[:, 0]) - pose[0], np.interp(target_m, along, path[:, 1]) - pose[1]
    bearing = wrap(math.atan2(dy, dx) - pose[2])
    turn = float(np.clip(0.6 * bearing, -MAX_TURN_RAD, MAX_TURN_RAD))
    forward = 0.0 if abs(bearing) > 0.9 else min(SPEED_M * math.cos(bearing), math.hypot(dx, dy))
    return np.array([forward * math.cos(turn / 2), forward * math.sin(turn / 2), turn]), progress_m


def _new_mood(rng: np.random.Generator, in_place: bool) -> Mood:
    kind = rng.random()
    if in_place and kind < 0.1:
        return Mood(0.0, float(rng.choice([-1, 1]) * rng.uniform(0.12, MAX_TURN_RAD)), int(rng.integers(3, 7)))
    turn = 0.0 if kind < 0.3 else float(np.clip(rng.normal(0, 0.15), -MAX_TURN_RAD, MAX_TURN_RAD))
    return Mood(float(rng.uniform(0.15, 0.3)), turn, int(rng.integers(4, 13)))


def _room(pose: np.ndarray, forward_m: float, turns: np.ndarray, free: ObstacleMap) -> np.ndarray:
    """Smallest clearance (m) along the arc of each turn (K,), looked ahead for LOOK_AHEAD_STEPS steps."""
    step = np.arange(1, LOOK_AHEAD_STEPS + 1)[:, None]
    # The arc ends after a half turn at most: a wanderer does not plan in circles.
    swept = np.clip(step * turns, -np.pi, np.pi)
    steady = np.where(np.abs(swept) > 1e-6, swept / 2, 1e-6)
    chord = step * forward_m * np.sin(steady) / steady
    x = pose[0] + chord * np.cos(pose[2] + swept / 2)
    y = pose[1] + chord * np.sin(pose[2] + swept / 2)
    return free.clearance(x, y).min(axis=0)
