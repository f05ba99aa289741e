"""`LeRobotWriter`: records episodes as a LeRobot data set (v3) so that a killed recording loses at most the episode it was in."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from lamplan.errors import DataError, InputError
from lamplan.logs.files import read_json
from lamplan.logs.lerobot_files import DATA_PATH, VIDEO_PATH, picture_features, plain_features
from lamplan.logs.lerobot_rows import PICTURES, episode_columns, episode_row
from lamplan.logs.lerobot_stats import KINDS, stats_of_images
from lamplan.logs.lerobot_stored import StoredSet
from lamplan.logs.lerobot_video import join_videos
from lamplan.logs.parquet import require_parquet
from lamplan.logs.recorded import check_recorded
from lamplan.robot import RobotSpec
from lamplan.video import write_video

FOLDER = re.compile(r"episode_(\d+)")
NUMBERS, SIZES = "numbers.npz", "sizes.json"
# A quality that the eye does not tell from the original, and any step within 10 of a key frame.
CRF, KEY_EVERY = 18, 10
# LeRobot's own limit for a video that many episodes share.
MAX_VIDEO_BYTES = 200 * 2**20


class LeRobotWriter:
    """Writes the folder `path`, with the same calls as `LogWriter`. Use it as a context manager, or call `close`.

    States, actions and rate are kept exactly (float64); images as H.264 of high quality, which is not lossless. Every episode
    becomes a folder of its own in `path.parts/`, complete before it gets its name. `close` joins those that follow on the data
    set's last episode into new shared files and leaves its older files alone; the table of the new episodes gets its name last,
    so a reader sees all of an episode or nothing of it. LeRobot numbers episodes without gaps: one that was given an index
    further on waits in `path.parts/` until those before it are recorded. Opening the same path again goes on where the last
    recording stopped. Several processes may write episodes of different index at the same time; one of them closes.
    """

    def __init__(self, path: str | Path, robot: RobotSpec, task: str) -> None:
        require_parquet()
        self.path = Path(path)
        self.parts = self.path.with_name(self.path.name + ".parts")
        self._robot, self._task = robot, task
        self._set = StoredSet(self.path)
        self._check_same_robot()
        self.parts.mkdir(parents=True, exist_ok=True)

    def finished(self) -> set[int]:
        """Indices of the episodes that are safely recorded, in this run or in earlier ones."""
        return set(range(self._set.episodes)) | self._waiting().keys()

    def write_episode(self, frames: Mapping[str, np.ndarray], states: np.ndarray, actions: np.ndarray, index: int | None = None) -> int:
        """Stores one episode and returns its index.

        frames: observation key (`exterior_image`, ...) to images (T, H, W, 3) uint8. states (T, S) and actions (T, A) as the
        robot's `RobotSpec` defines them. index: the episode's number, by default one more than the highest so far.
        Raises InputError on wrong shapes or types, and on other cameras than the episodes before; then nothing is written.
        """
        states, actions = np.asarray(states, dtype=np.float64), np.asarray(actions, dtype=np.float64)
        check_recorded(self._robot, frames, states, actions)
        sizes = {key: list(images.shape[1:3]) for key, images in frames.items()}
        self._check_same_cameras(sizes)
        finished = self.finished()
        index = max(finished, default=-1) + 1 if index is None else index
        if index in finished or index < 0:
            raise InputError(f"episode {index} cannot be recorded: {self.path} has it already, or it is below 0.")
        target = self.parts / f"episode_{index:06d}"
        unfinished = target.with_suffix(f".{os.getpid()}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)  # `close` has removed the folder of parts
        numbers = {"states": states, "actions": actions}
        for key, images in frames.items():
            write_video(unfinished / f"{key}.mp4", images, self._robot.rate_hz, crf=CRF, key_every=KEY_EVERY)
            numbers |= {f"{key}/{name}": values for name, values in stats_of_images(images).items()}
        np.savez(unfinished / NUMBERS, **numbers)
        (unfinished / SIZES).write_text(json.dumps(sizes), encoding="utf-8")
        os.replace(unfinished, target)
        return index

    def close(self) -> None:
        """Joins the finished episodes into the data set; safe to repeat. Without any episode no folder appears."""
        waiting = self._waiting()
        while group := self._next_group(waiting):
            self._join(group)
            for folder in group:
                shutil.rmtree(folder)
            waiting = self._waiting()
        if self.parts.exists() and not waiting:
            shutil.rmtree(self.parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _next_group(self, waiting: dict[int, Path]) -> list[Path]:
        """The episodes that come next and share one file of each kind."""
        group: list[Path] = []
        size = 0
        while (folder := waiting.get(self._set.episodes + len(group))) is not None:
            size += max(video.stat().st_size for video in folder.glob("*.mp4"))
            if group and size > MAX_VIDEO_BYTES:
                break
            group.append(folder)
        return group

    def _join(self, group: Sequence[Path]) -> None:
        """Writes the files of one group. Whatever a kill leaves behind before the last line is written over the next time."""
        stored, rate_hz = self._set, self._robot.rate_hz
        sizes = read_json(group[0] / SIZES)
        if odd := [folder.name for folder in group if read_json(folder / SIZES) != sizes]:
            raise DataError(f"{self.parts}: {odd[0]} has other cameras or picture sizes than the episodes before it; move it away.")
        numbers = [dict(np.load(folder / NUMBERS, allow_pickle=False)) for folder in group]
        lengths = [len(episode["states"]) for episode in numbers]
        begins = [sum(lengths[:episode]) for episode in range(len(lengths))]
        tasks = stored.tasks if self._task in stored.tasks else [*stored.tasks, self._task]
        columns = [episode_columns(episode["states"], episode["actions"], rate_hz, stored.episodes + offset, stored.frames + begin,
                                   tasks.index(self._task)) for offset, (episode, begin) in enumerate(zip(numbers, begins, strict=True))]
        pictures = [{key: {name: episode[f"{key}/{name}"] for name in KINDS} for key in sizes} for episode in numbers]
        rows = [episode_row(steps, stats, self._task, stored.files, begin, rate_hz)
                for steps, stats, begin in zip(columns, pictures, begins, strict=True)]
        stored.write_data(columns)
        for key in sizes:
            join_videos(stored.video_path(PICTURES + key), [folder / f"{key}.mp4" for folder in group], lengths, rate_hz)
        stored.write_tasks(tasks)
        stored.write_json("stats.json", stored.stats_with(rows))
        stored.write_json("info.json", self._info(sizes, stored.episodes + len(group), stored.frames + sum(lengths), len(tasks)))
        stored.write_rows(rows)
        stored.refresh()

    def _info(self, sizes: Mapping[str, Sequence[int]], episodes: int, frames: int, tasks: int) -> dict[str, Any]:
        rate_hz = self._robot.rate_hz
        return {
            "codebase_version": "v3.0", "robot_type": self._robot.name, "total_episodes": episodes, "total_frames": frames,
            "total_tasks": tasks, "chunks_size": 1000, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200,
            "fps": int(rate_hz) if rate_hz.is_integer() else rate_hz, "splits": {"train": f"0:{episodes}"},
            "data_path": DATA_PATH, "video_path": VIDEO_PATH,
            "features": plain_features(self._robot) | picture_features(sizes, rate_hz),
        }

    def _waiting(self) -> dict[int, Path]:
        """Finished episodes that are not in the data set yet. One that is in both was joined just before a kill."""
        names = {path: FOLDER.fullmatch(path.name) for path in self.parts.glob("episode_*")}
        found = {int(match.group(1)): path for path, match in names.items() if match}
        return {index: path for index, path in found.items() if index >= self._set.episodes}

    def _check_same_robot(self) -> None:
        info = self._set.info()
        if info is None:
            return
        features = {key: value for key, value in info.get("features", {}).items() if not key.startswith(PICTURES)}
        if info.get("robot_type") != self._robot.name or info.get("fps") != self._robot.rate_hz or features != plain_features(self._robot):
            raise DataError(f"{self.path} exists and is no log of {self._robot.name} at {self._robot.rate_hz:g} Hz that was recorded here; "
                            "choose another name or move it away.")

    def _check_same_cameras(self, sizes: dict[str, list[int]]) -> None:
        info = self._set.info()
        waiting = next(iter(self._waiting().values()), None)
        if info is not None:
            pictures = {key: value["shape"][:2] for key, value in info["features"].items() if key.startswith(PICTURES)}
            known = {key.removeprefix(PICTURES): size for key, size in pictures.items()}
        else:
            known = sizes if waiting is None else read_json(waiting / SIZES)
        if known != sizes:
            raise InputError(f"all episodes of a data set have the same cameras and sizes: so far {known}, now {sizes}.")
