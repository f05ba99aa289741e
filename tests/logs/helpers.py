"""Synthetic logs in robomimic's layout, for tests of reader, writer and check."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

from lamplan.logs import LogWriter
from lamplan.robot import RobotSpec

ROOT = Path(__file__).resolve().parents[2]


def spec(name: str = "panda") -> RobotSpec:
    return RobotSpec.load(ROOT / "controllers" / name)


def episode(seed: int, steps: int = 6) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Frames of two cameras, states and actions of a Panda that moves within its limits."""
    rng = np.random.default_rng(seed)
    frames = {key: rng.integers(0, 255, (steps, 12, 16, 3), dtype=np.uint8) for key in ("exterior_image", "wrist_image")}
    states = np.cumsum(rng.uniform(-0.05, 0.05, (steps, 7)), axis=0)
    return frames, states, rng.uniform(-0.05, 0.05, (steps, 7))


def writer(path: Path) -> LogWriter:
    return LogWriter(path, robot=spec(), env_name="lamplan/Tabletop-v0")


def write_log(path: Path, count: int = 2) -> Path:
    with writer(path) as log:
        for seed in range(count):
            log.write_episode(*episode(seed))
    return path


def kill_recording(program: str) -> list[int]:
    """Runs a program that records without end and prints the index of each episode; kills it after the first few, which it returns."""
    command, environment = [sys.executable, "-c", program], {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        written = [int(process.stdout.readline()) for _ in range(4)]
        process.send_signal(signal.SIGKILL)
    return written


def edit(path: Path) -> h5py.File:
    """The file of `write_log`, open so that a test can damage it."""
    return h5py.File(path, "r+")
