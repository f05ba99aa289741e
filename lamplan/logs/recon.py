"""RECON as it is published: one HDF5 file per trajectory of a Jackal, with encoded images and poses at 4 Hz."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lamplan.errors import DataError
from lamplan.images import decode_image
from lamplan.logs.episode import Episode
from lamplan.logs.folders import a_few, episodes_at
from lamplan.logs.hdf5 import child, column, encoded_at, encoded_set, group_at, holds, numbers, open_hdf5
from lamplan.logs.parts import check_lengths, stack_images
from lamplan.motion import mobile_arc

NAME = "RECON (a file ending in .hdf5 with jackal/position and images/rgb_left, or a folder of such files)"
PATTERN = "*.hdf5"
# The robot's control interval is 0.25 s; the files keep no clock.
RATE_HZ = 4.0
CAMERAS = ("rgb_left", "rgb_right")


def recognises(path: Path) -> bool:
    """By the group `jackal` of the file, or of one of the first files of a folder: some of the published ones are damaged."""
    if path.is_file():
        return path.suffix in (".hdf5", ".h5") and holds(path, "jackal")
    return any(holds(file, "jackal") for file in a_few(path, PATTERN))


def read(path: Path) -> Sequence[Episode]:
    """All trajectories of a folder, in the order of their names, each opened when it is asked for."""
    return episodes_at(path, PATTERN, "recon", _episode)


def _episode(path: Path) -> Episode:
    """States [x, y, yaw] by the robot's odometry; actions are the commanded speeds over one step, where they were recorded."""
    where = str(path)
    with open_hdf5(path) as file:
        robot, images = group_at(file, "jackal", where), group_at(file, "images", where)
        position = None if robot is None else numbers(robot, "position", where)
        yaw = None if robot is None else column(robot, "yaw", where)
        if position is None or yaw is None:
            raise DataError(f"{where} has no 'jackal/position' (T, 3) with 'jackal/yaw' (T,); this is no RECON trajectory.")
        if position.shape[1] not in (2, 3):
            raise DataError(f"{where}: 'jackal/position' must have shape (T, 3) in metres, found {position.shape}.")
        seen = {} if images is None else {camera: encoded_set(images, camera, where) for camera in CAMERAS}
        cameras = {camera: len(found) for camera, found in seen.items() if found is not None}
        if not cameras:
            raise DataError(f"{where} has no 'images/rgb_left' (T encoded images).")
        commands = _commands(group_at(file, "commands", where), where)
    actions = None if commands is None else mobile_arc(*commands, 1 / RATE_HZ)
    lengths = {"jackal/position": len(position), "jackal/yaw": len(yaw), **cameras}
    if actions is not None:
        lengths["commands"] = len(actions)
    check_lengths(lengths, where)
    states = np.concatenate([position[:, :2], yaw[:, None]], axis=1)
    return Episode(states, actions, RATE_HZ, tuple(cameras), where, partial(_frames, path, len(states)), "jackal")


def _commands(group: Any, where: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Speeds (T,) in m/s and turning rates (T,) in rad/s, None where they were not recorded."""
    if group is None or child(group, "linear_velocity", where) is None or child(group, "angular_velocity", where) is None:
        return None
    speed, turn = column(group, "linear_velocity", where), column(group, "angular_velocity", where)
    if speed is None or turn is None or len(speed) != len(turn):
        raise DataError(f"{where}: 'commands/linear_velocity' and 'commands/angular_velocity' must have one value per step each.")
    return speed, turn


def _frames(path: Path, count: int, camera: str, steps: np.ndarray) -> np.ndarray:
    with open_hdf5(path) as file:
        group = group_at(file, "images", str(path))
        images = None if group is None else encoded_set(group, camera, str(path))
        if images is None or len(images) != count:
            raise DataError(f"{path}: '{camera}' has changed since the trajectory was opened; open the log again.")
        encoded = [encoded_at(images, int(step)) for step in (steps if len(steps) else [0])]
    decoded = [decode_image(content, f"{path}: {camera}") for content in encoded]
    return stack_images(decoded, f"{path}: '{camera}'")[: len(steps)]
