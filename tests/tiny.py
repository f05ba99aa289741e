"""A world small enough to learn in seconds: a square that moves over a still background."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lamplan.logs import LogWriter
from lamplan.robot import RobotSpec
from lamplan.video import write_video

RECIPE = """
encoder_batch = 8
batch = 8
clip_frames = 3
encoder_share = 0.5
[encoder]
image_size = 32
patch = 8
width = 24
depth = 1
heads = 2
[masked]
target = "pixels"
width = 24
depth = 1
heads = 2
[bottleneck]
kind = "noisy"
dim = 8
[inverse_dynamics]
width = 24
depth = 1
heads = 2
[world_model]
width = 24
depth = 1
heads = 2
context = 2
max_frames = 8
"""


def drive(rng: np.random.Generator, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, 32, 32, 3) of a square driven about, and its states (T, 3) as a mobile robot's: metres, no turning."""
    background = rng.integers(0, 90, (4, 4, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    states, place = np.zeros((steps, 3)), rng.uniform(0.5, 1.5, 2)
    frames = np.empty((steps, 32, 32, 3), np.uint8)
    for t in range(steps):
        x, y = (place * 16).astype(int)
        frames[t] = background
        frames[t, max(0, y - 4) : y + 4, max(0, x - 4) : x + 4] = (255, 60, 40)
        states[t, :2] = place
        place = np.clip(place + rng.uniform([0.0, -0.1], [0.3, 0.1]) * rng.choice([1, -0.3]), 0.3, 1.7)
    return frames, states


def videos(folder: Path, count: int = 6, steps: int = 12) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        write_video(folder / f"{index}.mp4", drive(rng, steps)[0], 4.0)
    return folder


def recipe(folder: Path) -> Path:
    path = folder / "tiny.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def log(path: Path, spec: RobotSpec, episodes: int = 4, scale: float = 1.0) -> Path:
    rng = np.random.default_rng(1)
    with LogWriter(path, robot=spec, env_name="square") as writer:
        for _ in range(episodes):
            frames, states = drive(rng, 10)
            states = states * scale
            actions = np.concatenate([spec.differences(states), np.zeros((1, 3))])
            writer.write_episode({spec.camera: frames}, states, spec.clip(actions))
    return path
