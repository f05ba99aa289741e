"""Windows out of recorded episodes: what the open-loop protocols plan on when there is a log instead of a simulator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.windows import Windows
from lamplan.errors import DataError
from lamplan.lam import resize
from lamplan.logs import Episode, at_rate, open_log, path_of
from lamplan.logs.rate import RATE_TOLERANCE, same_rate, tolerance
from lamplan.robot import RobotSpec
from lamplan.train.labelled import split

SLOWER = 0.1  # by how much a log may be slower than the robot: the publications' 3.75 Hz stand for 4
TRIES = 50  # draws for one window before the log is given up


@dataclass(frozen=True)
class LogWindows(Windows):
    """Windows with the number of the episode that each comes from (N,), and the rates (N,) in Hz at which they step."""

    episodes: np.ndarray
    rates_hz: np.ndarray


@dataclass
class LogReader:
    """Cuts windows of `horizon` steps as a robot takes them; `refused` gathers what could not be used, by episode, and why."""

    robot: RobotSpec
    horizon: int
    cameras: tuple[str, ...]
    image_size: int
    refused: dict[str, str] = field(default_factory=dict)

    def stride(self, episode: Episode) -> int:
        """Every how many-th frame is a step: the smallest number that makes the log no faster than the robot, as published."""
        if self.robot.source == "commanded":
            at_rate(episode, self.robot)  # every n-th command is not what a robot is told for n steps
            return 1
        if same_rate(episode.rate_hz, self.robot.rate_hz, tolerance(episode)):
            return 1
        ratio = episode.rate_hz / self.robot.rate_hz
        if ratio < 1 - SLOWER:
            raise DataError(f"{episode.source} was recorded at {episode.rate_hz:g} Hz, too slow for {self.robot.name}, which acts at "
                            f"{self.robot.rate_hz:g} Hz.")
        return math.ceil(ratio / (1 + RATE_TOLERANCE))

    def camera(self, episode: Episode) -> str:
        """The first of the cameras asked for that an episode has."""
        for name in self.cameras:
            if name in episode.cameras:
                return name
        raise DataError(f"{episode.source} has none of the cameras {', '.join(self.cameras)}; it has {', '.join(episode.cameras)}. "
                        "Name one with --camera.")

    def starts(self, episode: Episode) -> int:
        """How many windows begin in an episode. Raises DataError where it is no log of this kind of robot."""
        self.camera(episode)
        if episode.states.shape[1] != self.robot.state_dim:
            raise DataError(f"{episode.source}: states of {self.robot.name} have shape (T, {self.robot.state_dim}), "
                            f"found {episode.states.shape}.")
        return max(0, len(episode) - self.horizon * self.stride(episode))

    def cut(self, episode: Episode, start: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Frames (H+1, s, s, 3) as the model sees them, poses (H+1, S) (see `path_of`) and the rate in Hz of the window from step `start`
        on."""
        stride = self.stride(episode)
        steps = start + stride * np.arange(self.horizon + 1)
        frames = torch.from_numpy(np.ascontiguousarray(episode.frames(self.camera(episode), steps)))
        if frames.shape[1:3] != (self.image_size, self.image_size):
            frames = resize(frames, self.image_size)
        seen_by = replace(self.robot, camera=self.camera(episode))
        return frames.numpy(), path_of(episode, seen_by)[steps], episode.rate_hz / stride

    def draw(self, episodes: Sequence[Callable[[], Episode]], count: int, seed: int) -> LogWindows:
        """`count` windows, each from a random episode and from a random step of it on, as the DROID protocol draws them. Episodes that
        cannot be used are drawn again."""
        return self._gather(tqdm((self._random(episodes, seed + i) for i in range(count)), desc="read windows", unit="window", total=count),
                            np.arange(seed, seed + count))

    def chosen(self, places: Sequence[tuple[Callable[[], Episode], int]], seed: int) -> LogWindows:
        """The windows that begin at given steps of episodes, of which the same function opens the same; each must be there."""
        numbers = {opened: number for number, opened in enumerate(dict.fromkeys(opened for opened, _ in places))}
        rows = (self._at(numbers[opened], opened, start) for opened, start in tqdm(places, desc="read windows", unit="window"))
        return self._gather(rows, np.arange(seed, seed + len(places)))

    def _random(self, episodes: Sequence[Callable[[], Episode]], seed: int) -> tuple[int, tuple[np.ndarray, np.ndarray, float]]:
        rng = np.random.default_rng(seed)
        for _ in range(TRIES):
            number = int(rng.integers(len(episodes)))
            try:
                episode = episodes[number]()
                if starts := self.starts(episode):
                    return number, self.cut(episode, int(rng.integers(starts)))
                raise DataError(f"{episode.source} has {len(episode)} frames, too few for a window of {self.horizon} steps of "
                                f"{self.stride(episode)} frames.")
            except DataError as error:
                self.refused[str(number)] = str(error)
        raise DataError(f"none of {TRIES} episodes drawn has a window that can be read; the last: {next(reversed(self.refused.values()))}")

    def _at(self, number: int, opened: Callable[[], Episode], start: int) -> tuple[int, tuple[np.ndarray, np.ndarray, float]]:
        episode = opened()
        if start < 0 or start >= self.starts(episode):
            raise DataError(f"{episode.source} has {len(episode)} steps and no window of {self.horizon} from step {start} on, as the index "
                            "has it: the index belongs to another version of the data.")
        return number, self.cut(episode, start)

    def _gather(self, rows: Iterable[tuple[int, tuple[np.ndarray, np.ndarray, float]]], seeds: np.ndarray) -> LogWindows:
        numbers, windows = zip(*rows, strict=True)
        frames, states, rates = zip(*windows, strict=True)
        return LogWindows(np.stack(frames), np.stack(states), seeds, np.array(numbers), np.array(rates))


def gather(paths: Sequence[Path], held_out: bool) -> list[Callable[[], Episode]]:
    """The episodes of all logs, unopened; with `held_out` the last tenth of them, at least one, which a fit to the same logs left out."""
    logs = [open_log(path) for path in paths]
    found: list[Callable[[], Episode]] = [_opener(log, i) for log in logs for i in range(len(log))]
    if not found:
        raise DataError(f"{', '.join(map(str, paths))} holds no episodes.")
    return [found[number] for number in split(len(found)).test] if held_out else found


def _opener(log: Sequence[Episode], index: int) -> Callable[[], Episode]:
    return lambda: log[index]
