"""RECON in the form that navigation models train on: a folder per trajectory with `traj_data.pkl` and `0.jpg`, `1.jpg`, ..."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lamplan.errors import DataError
from lamplan.images import decode_image
from lamplan.logs.episode import Episode
from lamplan.logs.folders import a_few, episodes_at
from lamplan.logs.parts import check_finite, stack_images
from lamplan.logs.pickled import read_pickle

NAME = "RECON as pictures (a folder with traj_data.pkl and 0.jpg, 1.jpg ..., or a folder of such folders)"
TRAJECTORY = "traj_data.pkl"
CAMERA = "rgb_left"
RATE_HZ = 4.0
MAX_IMAGE_BYTES = 2**26


def recognises(path: Path) -> bool:
    """By the name `traj_data.pkl`, of the file or somewhere below the folder."""
    return path.name == TRAJECTORY if path.is_file() else bool(a_few(path, TRAJECTORY))


def read(path: Path) -> Sequence[Episode]:
    """All trajectories below a folder, in the order of their paths, each opened when it is asked for."""
    return episodes_at(path, TRAJECTORY, "recon_folders", _episode)


def _episode(path: Path) -> Episode:
    """States [x (m), y (m), yaw (rad)] by the robot's odometry; this form keeps no commands."""
    table = read_pickle(path, ("position", "yaw"))
    position, yaw = table.get("position"), table.get("yaw")
    if position is None or yaw is None:
        raise DataError(f"{path} has {', '.join(table) or 'neither'} of 'position' (T, 2) and 'yaw' (T,); both are needed.")
    yaw = yaw.reshape(-1) if yaw.shape[1:] in ((), (1,)) and yaw.ndim else yaw
    if position.ndim != 2 or position.shape[1] not in (2, 3) or yaw.shape != position.shape[:1] or len(yaw) == 0:
        raise DataError(f"{path} must hold 'position' (T, 2) and 'yaw' (T,), found {position.shape} and {yaw.shape}.")
    states = np.concatenate([position[:, :2], yaw[:, None]], axis=1)
    check_finite(states, str(path))
    _check_pictures(path.parent, len(states))
    return Episode(states, None, RATE_HZ, (CAMERA,), str(path.parent), partial(_frames, path.parent), "jackal")


def _check_pictures(folder: Path, count: int) -> None:
    present = {name for name in os.listdir(folder) if re.fullmatch(r"\d+\.jpg", name)}
    missing = next((step for step in range(count) if f"{step}.jpg" not in present), None)
    if missing is not None or len(present) != count:
        raise DataError(f"{folder} has {len(present)} pictures for {count} states; there must be one per state, 0.jpg to {count - 1}.jpg"
                        + (f", and {missing}.jpg is missing." if missing is not None else "."))


def _frames(folder: Path, camera: str, steps: np.ndarray) -> np.ndarray:
    decoded = []
    for step in steps if len(steps) else [0]:
        path = folder / f"{int(step)}.jpg"
        try:
            if path.stat().st_size > MAX_IMAGE_BYTES:
                raise DataError(f"{path} is {path.stat().st_size >> 20} MB large, which no picture of a log is.")
            decoded.append(decode_image(path.read_bytes(), str(path)))
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); it has changed since the log was opened.") from None
    return stack_images(decoded, str(folder))[: len(steps)]
