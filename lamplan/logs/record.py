"""`open_writer`: the writer for a path."""

from __future__ import annotations

from pathlib import Path

from lamplan.logs.lerobot_writer import LeRobotWriter
from lamplan.logs.robomimic import SUFFIXES
from lamplan.logs.writer import LogWriter
from lamplan.robot import RobotSpec


def open_writer(path: str | Path, robot: RobotSpec, env_name: str) -> LogWriter | LeRobotWriter:
    """robomimic's layout for a path that ends in .hdf5 or .h5; a LeRobot data set, a folder, for any other. Both have the same calls."""
    return LogWriter(path, robot, env_name) if Path(path).suffix.lower() in SUFFIXES else LeRobotWriter(path, robot, env_name)
