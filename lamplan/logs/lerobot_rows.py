"""What a LeRobot data set (v3) stores of one episode: its columns in the data file and its row in the table of episodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lamplan.logs.lerobot_files import place
from lamplan.logs.lerobot_stats import Stats, stats_of

PICTURES = "observation.images."


def episode_columns(states: np.ndarray, actions: np.ndarray, rate_hz: float, index: int, first: int, task: int) -> dict[str, np.ndarray]:
    """Columns (T, ...) of episode `index`, whose steps are counted from `first` in the whole set."""
    step = np.arange(len(states))
    return {
        "observation.state": states, "action": actions, "timestamp": (step / rate_hz).astype(np.float32), "frame_index": step,
        "episode_index": np.full(len(step), index), "index": first + step, "task_index": np.full(len(step), task),
    }


def episode_row(columns: Mapping[str, np.ndarray], pictures: Mapping[str, Stats], task: str, file: int, begin: int,
                rate_hz: float) -> dict[str, Any]:
    """The row of an episode in the `file`-th files of the set, with `begin` frames of others before it in its videos."""
    length, first = len(columns["index"]), int(columns["index"][0])
    row: dict[str, Any] = {"episode_index": int(columns["episode_index"][0]), "tasks": [task], "length": length}
    row |= {"dataset_from_index": first, "dataset_to_index": first + length}
    for key in pictures:
        video = f"videos/{PICTURES}{key}"
        row |= {f"{video}/{name}": value for name, value in place(file).items()}
        row |= {f"{video}/from_timestamp": begin / rate_hz, f"{video}/to_timestamp": (begin + length) / rate_hz}
    row |= {f"{room}/{name}": value for room in ("data", "meta/episodes") for name, value in place(file).items()}
    stats = {name: stats_of(values) for name, values in columns.items()} | {PICTURES + key: found for key, found in pictures.items()}
    return row | {f"stats/{feature}/{name}": values.tolist() for feature, found in stats.items() for name, values in found.items()}


def stats_in(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Stats]]:
    """The stats of each feature in some rows of the table of episodes."""
    found: dict[str, list[Stats]] = {}
    for row in rows:
        features: dict[str, Stats] = {}
        for name in (name for name in row if name.startswith("stats/")):
            _, feature, kind = name.split("/")
            features.setdefault(feature, {})[kind] = np.array(row[name])
        for feature, stats in features.items():
            found.setdefault(feature, []).append(stats)
    return found
