"""`LogWriter`: records episodes in robomimic's layout so that a killed recording loses at most the episode it was in."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from lamplan.errors import DataError, InputError
from lamplan.logs.hdf5 import open_hdf5, require_h5py
from lamplan.logs.recorded import check_recorded
from lamplan.logs.robomimic import DEMO, STATE, demo_names
from lamplan.robot import RobotSpec


class LogWriter:
    """Writes `path` (HDF5). Use it as a context manager, or call `close`.

    HDF5 has no journal: a kill in the middle of a write can spoil a whole file. So every episode becomes a small file of its
    own in `path.parts/`, complete before it gets its name, and `close` gathers them into `path` in one rename. Opening the
    same path again goes on where the last recording stopped, killed or closed. Several processes may write episodes of
    different index at the same time; one of them closes.
    """

    def __init__(self, path: str | Path, robot: RobotSpec, env_name: str) -> None:
        require_h5py()
        self.path = Path(path)
        self.parts = self.path.with_name(self.path.name + ".parts")
        self._robot = robot
        self._env_args = {"env_name": env_name, "env_kwargs": {"control_freq": robot.rate_hz, "robots": [robot.name]}}
        self._stored = self._read_stored()
        self.parts.mkdir(parents=True, exist_ok=True)

    def finished(self) -> set[int]:
        """Indices of the episodes that are safely recorded, in this run or in earlier ones."""
        return self._stored | self._waiting().keys()

    def write_episode(self, frames: Mapping[str, np.ndarray], states: np.ndarray, actions: np.ndarray, index: int | None = None) -> int:
        """Stores one episode and returns its index.

        frames: observation key (`exterior_image`, ...) to images (T, H, W, 3) uint8. states (T, S) and actions (T, A) as the
        robot's `RobotSpec` defines them. index: the episode's number, by default one more than the highest so far.
        Raises InputError on wrong shapes or types, and for an index that is recorded already; then nothing is written.
        """
        states, actions = np.asarray(states, dtype=np.float64), np.asarray(actions, dtype=np.float64)
        check_recorded(self._robot, frames, states, actions)
        finished = self.finished()
        index = max(finished, default=-1) + 1 if index is None else index
        if index in finished or index < 0:
            raise InputError(f"episode {index} cannot be recorded: {self.path} has it already, or it is below 0.")
        self.parts.mkdir(parents=True, exist_ok=True)  # `close` has removed it
        target = self.parts / f"demo_{index}.hdf5"
        unfinished = target.with_suffix(f".{os.getpid()}.tmp")
        with require_h5py().File(unfinished, "w") as file:
            demo = file.create_group(f"demo_{index}")
            demo.attrs["num_samples"] = len(actions)
            demo.create_dataset("actions", data=actions)
            demo.create_dataset(f"obs/{STATE}", data=states)
            for key, images in frames.items():
                # One chunk per image: a reader that wants a few of them decompresses no others.
                demo.create_dataset(f"obs/{key}", data=images, chunks=(1, *images.shape[1:]), compression="gzip", compression_opts=1)
        os.replace(unfinished, target)
        return index

    def close(self) -> None:
        """Gathers the finished episodes into `path`; safe to repeat. Without any episode no file appears."""
        waiting = self._waiting()
        if waiting:
            unfinished = self.path.with_name(self.path.name + ".tmp")
            unfinished.unlink(missing_ok=True)
            if self.path.exists():
                shutil.copyfile(self.path, unfinished)
            with require_h5py().File(unfinished, "a") as file:
                self._gather(file, waiting)
            os.replace(unfinished, self.path)
            self._stored |= waiting.keys()
        if self.parts.exists():
            shutil.rmtree(self.parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _gather(self, file: Any, waiting: dict[int, Path]) -> None:
        data = file.require_group("data")
        for index in sorted(waiting):
            with open_hdf5(waiting[index]) as part:
                part.copy(f"demo_{index}", data)
        data.attrs["total"] = sum(int(data[name].attrs["num_samples"]) for name in demo_names(data))
        data.attrs["env_args"] = json.dumps(self._env_args)

    def _waiting(self) -> dict[int, Path]:
        """Finished episodes that are not in the file yet. One that is in both was gathered just before a kill."""
        names = {path: DEMO.fullmatch(path.stem) for path in self.parts.glob("demo_*.hdf5")}
        found = {int(match.group(1)): path for path, match in names.items() if match}
        return {index: path for index, path in found.items() if index not in self._stored}

    def _read_stored(self) -> set[int]:
        if not self.path.exists():
            return set()
        with open_hdf5(self.path) as file:
            data = file.get("data")
            if data is None or data.attrs.get("env_args") != json.dumps(self._env_args):
                raise DataError(f"{self.path} exists and is no log of {self._robot.name} in {self._env_args['env_name']} at "
                                f"{self._robot.rate_hz:g} Hz; choose another name or move it away.")
            return {int(name.removeprefix("demo_")) for name in demo_names(data)}
