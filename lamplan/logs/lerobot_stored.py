"""`StoredSet`: a LeRobot data set (v3) to which groups of episodes are added, each file under a temporary name until it is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamplan.files import whole_file
from lamplan.logs.files import read_json
from lamplan.logs.lerobot_files import DATA_PATH, EPISODES_PATH, VIDEO_PATH, place
from lamplan.logs.lerobot_rows import stats_in
from lamplan.logs.lerobot_stats import join
from lamplan.logs.parquet import open_parquet, read_columns, require_parquet


class StoredSet:
    """What a data set's folder holds so far: `episodes` and `frames` in all, in `files` groups, for these `tasks`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.episodes = self.frames = self.files = 0
        self.tasks: list[str] = []
        self.refresh()

    def refresh(self) -> None:
        """Reads the numbers off the table of episodes, which alone decides what belongs to the set."""
        paths = self._tables()
        self.files, self.episodes, self.frames = len(paths), 0, 0
        for path in paths:
            lengths = read_columns(path, ["length"], str(path))["length"]
            self.episodes, self.frames = self.episodes + len(lengths), self.frames + int(lengths.sum())
        self.tasks = self._read_tasks() if paths else []

    def info(self) -> dict[str, Any] | None:
        """meta/info.json, None where nothing is stored."""
        return read_json(self.root / "meta" / "info.json") if self.files else None

    def video_path(self, feature: str) -> Path:
        """Of the next group."""
        return self.root / VIDEO_PATH.format(video_key=feature, **place(self.files))

    def stats_with(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Those of all stored episodes and of some new rows, joined from the table: meta/stats.json may be ahead of it."""
        stored: list[Mapping[str, Any]] = []
        for path in self._tables():
            with open_parquet(path) as file:
                names = [name for name in file.schema_arrow.names if name.startswith("stats/")]
                stored += file.read(columns=names, use_threads=False).to_pylist()
        return {feature: {kind: values.tolist() for kind, values in join(parts).items()}
                for feature, parts in stats_in([*stored, *rows]).items()}

    def write_data(self, episodes: Sequence[Mapping[str, np.ndarray]]) -> None:
        """The data file of the next group: one row group per episode, so that a reader of one reads no other."""
        import pyarrow as pa

        tables = [pa.table({key: _column(values) for key, values in episode.items()}) for episode in episodes]
        target = self.root / DATA_PATH.format(**place(self.files))
        with whole_file(target) as unfinished, require_parquet().ParquetWriter(unfinished, tables[0].schema) as file:
            for table in tables:
                file.write_table(table)

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The table of the next group's episodes, by which they become part of the set."""
        import pyarrow as pa

        self._write_table(EPISODES_PATH.format(**place(self.files)), pa.Table.from_pylist(list(rows)))

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        with whole_file(self.root / "meta" / name) as unfinished:
            unfinished.write_text(json.dumps(value, indent=4), encoding="utf-8")

    def write_tasks(self, tasks: Sequence[str]) -> None:
        """A pandas table indexed by the task's words, which is how LeRobot looks its number up."""
        import pyarrow as pa

        types = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
        columns = [{"name": name, "field_name": name, "pandas_type": plain, "numpy_type": numpy, "metadata": None}
                   for name, plain, numpy in types]
        notes = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
        table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(list(tasks), pa.string())})
        self._write_table("meta/tasks.parquet", table.replace_schema_metadata({"pandas": json.dumps(notes)}))

    def _write_table(self, name: str, table: Any) -> None:
        with whole_file(self.root / name) as unfinished:
            require_parquet().write_table(table, unfinished)

    def _tables(self) -> list[Path]:
        return sorted((self.root / "meta" / "episodes").glob("*/*.parquet"))

    def _read_tasks(self) -> list[str]:
        with open_parquet(self.root / "meta" / "tasks.parquet") as file:
            return [str(task) for task in file.read(columns=["task"], use_threads=False).column("task").to_pylist()]


def _column(values: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.array(values) if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
