"""Closed-form robots whose logs are right in every way, for tests to plant faults in. Nothing in them was recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from lamplan.checkup.examine import Checkup, examine_survey
from lamplan.checkup.survey import survey_of
from lamplan.logs import Episode
from lamplan.motion import mobile_arc
from lamplan.robot import RobotSpec

CAMERAS = ("exterior_image", "wrist_image")


def pictures(seed: int, camera: str, steps: np.ndarray) -> np.ndarray:
    """Noise, other at every step."""
    return np.stack([np.random.default_rng((seed, len(camera), int(step))).integers(0, 255, (8, 12, 3), np.uint8) for step in steps])


def made(states: np.ndarray, actions: np.ndarray, number: int, rate_hz: float, cameras: tuple[str, ...]) -> Episode:
    return Episode(states, actions, rate_hz, cameras, f"log: demo_{number}", lambda camera, steps: pictures(number, camera, steps),
                   "made", np.arange(len(states)) / rate_hz)


def arm_episode(rng: np.random.Generator, number: int, steps: int, rate_hz: float) -> Episode:
    """A hand that points down, does what it is told but for a little noise, and closes onto something of its own width."""
    actions = rng.normal(0, [0.01] * 3 + [0.05] * 3 + [0], (steps, 7))
    held, close, release = rng.uniform(0.3, 0.9), steps // 3, 2 * steps // 3
    gripper = np.where((np.arange(steps) > close) & (np.arange(steps) <= release), held, 0.0)
    actions[:-1, 6] = np.diff(gripper)
    turns = [Rotation.from_euler("xyz", [np.pi, 0, 0.3])]
    for told in actions[:-1]:
        turns.append(Rotation.from_euler("xyz", told[3:6] + rng.normal(0, 0.002, 3)) * turns[-1])
    moved = actions[:-1, :3] + rng.normal(0, 0.0005, (steps - 1, 3))
    places = [0.5, 0.0, 0.3] + np.concatenate([np.zeros((1, 3)), np.cumsum(moved, axis=0)])
    angles = np.stack([turn.as_euler("xyz") for turn in turns])
    return made(np.concatenate([places, angles, gripper[:, None]], axis=1), actions, number, rate_hz, CAMERAS)


def mobile_episode(rng: np.random.Generator, number: int, steps: int, rate_hz: float) -> Episode:
    """A rover that drives arcs, at first in any direction."""
    speed, turn = rng.uniform(0.3, 1.0, steps), rng.normal(0, 0.6, steps)
    actions = mobile_arc(speed, turn, 1 / rate_hz)
    states = [np.array([*rng.uniform(-3, 3, 2), rng.uniform(-np.pi, np.pi)])]
    for dx, dy, dyaw in actions[:-1]:
        x, y, yaw = states[-1]
        states.append(np.array([x + np.cos(yaw) * dx - np.sin(yaw) * dy, y + np.sin(yaw) * dx + np.cos(yaw) * dy,
                                (yaw + dyaw + np.pi) % (2 * np.pi) - np.pi]))
    return made(np.stack(states), actions, number, rate_hz, ("front_image",))


def log(kind: str = "arm", seed: int = 0, episodes: int = 8, steps: int = 30, rate_hz: float = 5.0) -> list[Episode]:
    rng = np.random.default_rng(seed)
    return [(arm_episode if kind == "arm" else mobile_episode)(rng, number, steps, rate_hz) for number in range(episodes)]


def each(episodes: list[Episode], change) -> list[Episode]:
    """The log with the fields that `change` gives, of every episode."""
    return [replace(episode, **change(episode)) for episode in episodes]


def only(episodes: list[Episode], number: int, **fields) -> list[Episode]:
    """The log with other fields in one episode."""
    return [replace(episode, **fields) if place == number else episode for place, episode in enumerate(episodes)]


def checked(episodes, robot: RobotSpec | None = None) -> Checkup:
    return examine_survey(survey_of(episodes, "log", "made"), robot)
