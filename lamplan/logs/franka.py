"""The Franka set of JEPA-WMs: one `episode.h5` per episode, with poses and plain images of a Panda in DROID's conventions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lamplan.errors import DataError
from lamplan.logs.droid import poses_in
from lamplan.logs.episode import Episode
from lamplan.logs.folders import a_few, episodes_at
from lamplan.logs.hdf5 import dataset, group_at, holds, image_set, images_at, open_hdf5

NAME = "Franka set of JEPA-WMs (episode.h5 with episode_data/observation, or a folder of folders with such files)"
EPISODE = "episode.h5"
OBSERVATION = "episode_data/observation"
# The files keep no clock; the set is published as 30 Hz.
RATE_HZ = 30.0


def recognises(path: Path) -> bool:
    """A file by its group `episode_data`, a folder by a file `episode.h5` somewhere below it."""
    return path.suffix in (".h5", ".hdf5") and holds(path, "episode_data") if path.is_file() else bool(a_few(path, EPISODE))


def read(path: Path) -> Sequence[Episode]:
    """All episodes below a folder, in the order of their paths, each opened when it is asked for."""
    return episodes_at(path, EPISODE, "franka", _episode)


def _episode(path: Path) -> Episode:
    where = str(path)
    with open_hdf5(path) as file:
        seen = group_at(file, OBSERVATION, where)
        states = poses_in(seen, OBSERVATION, where)
        lengths = {key: len(image_set(seen, key, where)) for key in sorted(seen) if "image" in key and _pictures(seen, key, where)}
    if not lengths:
        raise DataError(f"{where} has no images ('{OBSERVATION}/<camera>', uint8 (T, H, W, 3)).")
    for camera, length in lengths.items():
        if length != len(states):
            raise DataError(f"{where}: '{camera}' has {length} images for {len(states)} states; there must be one per state.")
    return Episode(states, None, RATE_HZ, tuple(lengths), where, partial(_frames, path, len(states)), "panda")


def _pictures(seen: object, key: str, where: str) -> bool:
    """Intrinsics and depth are called images as well; only four dimensions are pictures."""
    found = dataset(seen, key, where)
    return found is not None and found.ndim == 4


def _frames(path: Path, count: int, camera: str, steps: np.ndarray) -> np.ndarray:
    with open_hdf5(path) as file:
        seen = group_at(file, OBSERVATION, str(path))
        images = None if seen is None else image_set(seen, camera, str(path))
        if images is None or len(images) != count:
            raise DataError(f"{path}: '{camera}' has changed since the episode was opened; open the log again.")
        return images_at(images, steps)
