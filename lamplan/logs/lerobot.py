"""LeRobot data sets, v2.x and v3: a folder of Parquet files (states, commands, time stamps) and MP4 files (cameras)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from lamplan.errors import DataError
from lamplan.images import decode_image
from lamplan.logs.episode import Episode
from lamplan.logs.files import fill, member
from lamplan.logs.lazy import Episodes
from lamplan.logs.lerobot_info import ACTION, Info, read_info
from lamplan.logs.lerobot_table import EpisodeTable, read_table
from lamplan.logs.mp4 import frames_at
from lamplan.logs.parquet import read_columns, read_images, require_parquet
from lamplan.logs.parts import check_finite, stack_images

NAME = "LeRobot data set v2 or v3 (a folder with meta/info.json)"
TIME, FRAME, EPISODE = "timestamp", "frame_index", "episode_index"
# Time stamps are float32 multiples of 1 / fps: where they agree so far, the header's round number is the rate.
RATE_TOLERANCE = 1e-3
# Episodes whose numbers are read together: LeRobot may have packed a whole file so that one of them costs as much as all.
NEIGHBOURS = 64


def recognises(path: Path) -> bool:
    """A folder with `meta/info.json`, or that file itself."""
    return (path / "meta" / "info.json").is_file() or (path.name == "info.json" and path.parent.name == "meta" and path.is_file())


def read(path: Path) -> Episodes:
    """The episodes of a data set, opened one by one. DataError says which part of the layout is missing or wrong."""
    require_parquet()
    info = read_info(path if path.is_dir() else path.parent.parent)
    table = read_table(info)
    return Episodes(range(len(table)), _Opener(info, table).open)


class _Opener:
    """Opens episodes; keeps the numbers last read, which are those of some neighbouring episodes: a file may unpack only as a whole."""

    def __init__(self, info: Info, table: EpisodeTable) -> None:
        self._info, self._table = info, table
        self._names = (EPISODE, TIME, FRAME, *info.state, *((ACTION,) if info.action else ()))
        self._kept: tuple[Path, int, dict[str, np.ndarray]] | None = None

    def open(self, number: int) -> Episode:
        info, index = self._info, int(self._table.episode[number])
        where = f"{info.root}: episode {index}"
        path = member(info.root, fill(info.data_path, self._table.data_fields(number), where), where)
        columns = self._columns(path, index, where)
        rows = np.flatnonzero(_vector(columns[EPISODE], EPISODE, where) == index)
        length = int(self._table.length[number])
        if not length or len(rows) != length or (_vector(columns[FRAME], FRAME, where)[rows] != np.arange(length)).any():
            raise DataError(f"{where}: the table of episodes claims {length} steps, but {path.name} holds {len(rows)} rows of it (their "
                            "frame_index must count from 0); the data set is damaged or incomplete.")
        times = _vector(columns[TIME][rows].astype(np.float64), TIME, where)
        states = np.concatenate([_matrix(columns[name][rows], name, where) for name in info.state], axis=1)
        try:
            states = info.pose(states)
        except (DataError, ValueError) as error:
            raise DataError(f"{where}: {error}") from None
        return Episode(
            states=states, actions=_matrix(columns[ACTION][rows], ACTION, where) if info.action else None,
            rate_hz=_rate(times, info.fps, where), cameras=tuple(info.cameras), source=where, robot=info.robot, times_s=times,
            stated_hz=info.fps,
            read=partial(_frames, info, self._table, number, times, path, where),
        )

    def _columns(self, path: Path, index: int, where: str) -> dict[str, np.ndarray]:
        kept, block = self._kept, index // NEIGHBOURS
        if kept is None or kept[:2] != (path, block):
            between = (EPISODE, block * NEIGHBOURS, (block + 1) * NEIGHBOURS)
            kept = self._kept = (path, block, read_columns(path, self._names, f"{where}: {path.name}", between))
        return kept[2]


def _frames(info: Info, table: EpisodeTable, number: int, times: np.ndarray, data: Path, where: str,
            camera: str, steps: np.ndarray) -> np.ndarray:
    key = info.cameras[camera]
    where = f"{where}: '{camera}'"
    if key not in info.videos:
        wanted = np.unique(steps)
        index = int(table.episode[number])
        encoded = read_images(data, key, wanted, where, (EPISODE, index, index + 1))
        decoded = dict(zip(wanted.tolist(), (decode_image(image, where) for image in encoded), strict=True))
        found = [decoded[step] for step in np.asarray(steps).tolist()]
        return stack_images(found, where) if found else np.empty((0, *info.sizes.get(key, (0, 0)), 3), np.uint8)
    path = member(info.root, fill(info.video_path, table.video_fields(number, key), where), where)
    # In v3 a video holds many episodes, so only the frames asked for can be counted.
    count = int(table.length[number]) if info.version == 2 else None
    tolerance = 0.5 * float(np.diff(times).min()) if len(times) > 1 else np.inf
    images = frames_at(path, table.video_start(number, key) + times[steps], tolerance, where, count)
    height, width = info.sizes.get(key, images.shape[1:3])
    # A video of odd size is stored with one more row or column, which the format demands.
    odd = images.shape[1] - height in (0, 1) and images.shape[2] - width in (0, 1)
    return images[:, :height, :width] if odd else images


def _rate(times: np.ndarray, fps: float | None, where: str) -> float:
    """Hz by the time stamps; the header counts only where it agrees, or where a single step tells nothing."""
    steps = np.diff(times)
    if len(steps) and not (steps > 0).all():
        raise DataError(f"{where}: '{TIME}' does not increase after step {int(np.argmax(steps <= 0))}.")
    if not len(steps) and fps is None:
        raise DataError(f"{where}: meta/info.json gives no 'fps' and a single step tells no rate.")
    measured = 1 / float(np.median(steps)) if len(steps) else float(fps or 0)
    return fps if fps is not None and abs(measured / fps - 1) < RATE_TOLERANCE else measured


def _vector(values: np.ndarray, name: str, where: str) -> np.ndarray:
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values.ndim != 1 or not np.isfinite(values).all():
        raise DataError(f"{where}: '{name}' must be one finite number per step, found shape {values.shape}.")
    return values


def _matrix(values: np.ndarray, name: str, where: str) -> np.ndarray:
    """(T, W) float64; a column of single numbers is one of width 1."""
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] == 0:
        raise DataError(f"{where}: '{name}' must have shape (T, dimensions), found {values.shape}.")
    check_finite(values, f"{where}: '{name}'")
    return values.astype(np.float64)
