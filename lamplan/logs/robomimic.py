"""Logs in robomimic's HDF5 layout: `data/demo_N/{actions, obs/{<camera>_image, proprio}}`, rate in the attribute `env_args`."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lamplan.errors import DataError
from lamplan.logs.episode import Episode
from lamplan.logs.hdf5 import image_set, images_at, numbers, open_hdf5, subgroup, text
from lamplan.logs.lazy import Episodes
from lamplan.logs.parts import check_lengths

NAME = "robomimic HDF5 (a file ending in .hdf5 or .h5 with data/demo_N)"
SUFFIXES = (".hdf5", ".h5")
DEMO = re.compile(r"demo_(\d+)")
IMAGE = "_image"
STATE = "proprio"


def demo_names(data: Any) -> list[str]:
    """Names `demo_N` in a group, in the order of N."""
    found = [match for match in map(DEMO.fullmatch, data) if match]
    return [match.group(0) for match in sorted(found, key=lambda match: int(match.group(1)))]


def recognises(path: Path) -> bool:
    """By its suffix: whatever else is wrong in the file is better said by the reader."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def read(path: Path) -> Episodes[str]:
    """All episodes of a file, each opened when it is asked for; DataError says which part of the layout is missing or wrong."""
    with open_hdf5(path) as file:
        data = subgroup(file, "data", str(path))
        names = [] if data is None else demo_names(data)
        if not names:
            raise DataError(f"{path} holds no episodes: expected groups data/demo_0, data/demo_1 ... (robomimic's layout).")
        rate_hz, robot = _rate_and_robot(data, path, first=names[0])
    return Episodes(names, partial(_open, path, rate_hz, robot))


def _open(path: Path, rate_hz: float, robot: str, name: str) -> Episode:
    where = f"{path}: {name}"
    with open_hdf5(path) as file:
        data = subgroup(file, "data", str(path))
        demo = None if data is None else subgroup(data, name, where)
        if demo is None:
            raise DataError(f"{where} is listed but cannot be found; the file is damaged, or has changed since it was opened.")
        return _episode(demo, name, path, rate_hz, robot)


def _episode(demo: Any, name: str, path: Path, rate_hz: float, robot: str) -> Episode:
    where = f"{path}: {name}"
    actions, obs = numbers(demo, "actions", where), subgroup(demo, "obs", where)
    if actions is None:
        raise DataError(f"{where} has no 'actions' (T, A); a log must say what the robot was told to do.")
    if obs is None:
        raise DataError(_no_images(where))
    states, cameras = numbers(obs, STATE, where), tuple(sorted(key for key in obs if key.endswith(IMAGE)))
    if not cameras:
        raise DataError(_no_images(where))
    if states is None:
        raise DataError(f"{where}: obs has {', '.join(sorted(obs))} but no '{STATE}' (T, S) with the robot's pose in metres and radians.")
    lengths = {"actions": len(actions), STATE: len(states)}
    for camera in cameras:
        lengths[camera] = len(image_set(obs, camera, where))
    check_lengths(lengths, where)
    return Episode(states, actions, rate_hz, cameras, where, partial(_frames, path, name, len(states)), robot)


def _frames(path: Path, name: str, length: int, camera: str, steps: np.ndarray) -> np.ndarray:
    with open_hdf5(path) as file:
        images = file["data"][name]["obs"][camera]
        if len(images) != length:
            raise DataError(f"{path}: {name}: '{camera}' has {len(images)} images for {length} states.")
        return images_at(images, steps)


def _no_images(where: str) -> str:
    return (f"{where} has no images (obs/<camera>{IMAGE}), only numbers, as robosuite's own demonstrations have: "
            "play it back with cameras first (robomimic's dataset_states_to_obs does that) or record anew with images.")


def _rate_and_robot(data: Any, path: Path, first: str) -> tuple[float, str]:
    env_args = text(data, "env_args")
    if env_args is None:
        # An older file usually lacks the images as well, which is the greater lack: name that one.
        if subgroup(data[first], "obs", str(path)) is None:
            raise DataError(_no_images(f"{path}: {first}"))
        raise DataError(f"{path}: the group 'data' has no attribute 'env_args' (JSON), so the log's rate (control_freq, Hz) is unknown.")
    try:
        table = json.loads(env_args)
        settings = {**table, **table.get("env_kwargs", {})}
        rate_hz = float(settings["control_freq"])
        robots = settings.get("robots", "")
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        rate_hz, robots = math.nan, ""
    if not 0 < rate_hz < math.inf:
        raise DataError(f"{path}: 'env_args' must be JSON with env_kwargs.control_freq, the log's rate in Hz; found {env_args[:80]!r}.")
    return rate_hz, str(robots[0] if isinstance(robots, list) and robots else robots)
