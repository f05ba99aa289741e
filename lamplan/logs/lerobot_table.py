"""`EpisodeTable`: where each episode of a LeRobot data set lies; the index from which any of them is opened at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamplan.errors import DataError
from lamplan.logs.files import member, read_json_lines
from lamplan.logs.lerobot_info import Info
from lamplan.logs.parquet import read_columns

# Columns of meta/episodes in v3; each video key has its own four.
DATA_PLACE = ("data/chunk_index", "data/file_index")
VIDEO_PLACE = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")


@dataclass(frozen=True)
class EpisodeTable:
    """One row per episode, in the order of their numbers: arrays (N,) of the numbers, lengths and places."""

    episode: np.ndarray
    length: np.ndarray
    place: dict[str, np.ndarray]
    chunks_size: int

    def __len__(self) -> int:
        return len(self.episode)

    def data_fields(self, number: int) -> dict[str, str | int]:
        """The fields of `data_path`, in the words of either version."""
        fields: dict[str, str | int] = {"episode_index": int(self.episode[number])}
        if self.place:
            return fields | {name.split("/")[1]: int(self.place[name][number]) for name in DATA_PLACE}
        return fields | {"episode_chunk": int(self.episode[number]) // self.chunks_size}

    def video_fields(self, number: int, key: str) -> dict[str, str | int]:
        """The fields of `video_path`, in the words of either version."""
        fields = self.data_fields(number) | {"video_key": key}
        return fields | {name: int(self.place[f"videos/{key}/{name}"][number]) for name in VIDEO_PLACE[:2]} if self.place else fields

    def video_start(self, number: int, key: str) -> float:
        """Seconds into the video at which the episode begins."""
        return float(self.place[f"videos/{key}/{VIDEO_PLACE[2]}"][number]) if self.place else 0.0


def read_table(info: Info) -> EpisodeTable:
    """Reads `meta/episodes.jsonl` (v2) or `meta/episodes/**/*.parquet` (v3)."""
    columns = _from_lines(member(info.root, "meta/episodes.jsonl", info.where)) if info.version == 2 else _from_parquet(info)
    episode, length = columns.pop("episode_index"), columns.pop("length")
    if not len(episode):
        raise DataError(f"{info.where} holds no episodes.")
    order = np.argsort(episode, kind="stable")
    table = EpisodeTable(episode[order], length[order], {name: values[order] for name, values in columns.items()}, info.chunks_size)
    if (np.diff(table.episode) == 0).any() or table.episode[0] < 0:
        raise DataError(f"{info.where}: the table of episodes names one twice, or one below 0; it is damaged.")
    return table


def _from_lines(path: Path) -> dict[str, np.ndarray]:
    rows = read_json_lines(path)
    return {name: np.array([_integer(row, name, path) for row in rows], dtype=np.int64) for name in ("episode_index", "length")}


def _integer(row: dict[str, Any], name: str, path: Path) -> int:
    value = row.get(name)
    if not isinstance(value, int) or not 0 <= value < 2**62:
        raise DataError(f"{path}: every line must have '{name}', a whole number; found {str(value)[:40]}.")
    return value


def _from_parquet(info: Info) -> dict[str, np.ndarray]:
    paths = sorted((info.root / "meta" / "episodes").glob("*/*.parquet"))
    if not paths:
        raise DataError(f"{info.where}: meta/episodes holds no table of episodes (chunk-000/file-000.parquet); the data set is incomplete.")
    names = ("episode_index", "length", *DATA_PLACE, *(f"videos/{key}/{part}" for key in sorted(info.videos) for part in VIDEO_PLACE))
    parts = []
    for path in paths:
        parts.append(read_columns(member(info.root, path.relative_to(info.root).as_posix(), info.where), names, str(path)))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in names}
    for name, values in columns.items():
        whole = not name.endswith("_timestamp")
        if values.ndim != 1 or (whole and values.dtype.kind != "i") or not np.isfinite(values).all() or (values < 0).any():
            raise DataError(f"{info.where}: '{name}' in meta/episodes must hold one number from 0 on per episode.")
    return columns
