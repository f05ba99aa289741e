"""`episodes_of`: what a robot's controller and its rivals learn from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lamplan.errors import DataError, InputError
from lamplan.logs.check import check_limits
from lamplan.logs.episode import Episode
from lamplan.logs.open import open_log
from lamplan.logs.rate import at_rate
from lamplan.robot import RobotSpec

LEFT_OUT = 0.1
"""More than this share of episodes that are of no use is no accident, unless it is a single one: the whole log is at fault then."""


def episodes_of(logs: Sequence[Path], spec: RobotSpec) -> list[Episode]:
    """The episodes of all logs, at the robot's rate (see `at_rate`).

    An episode that cannot be opened, lacks the robot's camera or its first picture, has a single step or is refused by `check_limits` (a
    collision, a slip) is left out by the rule of `leave_out`. InputError where a log is given twice, or one episode by two logs: a folder
    and another within it, a data set and one of its files.
    """
    places = [log.resolve() for log in logs]
    if twice := [log for number, log in enumerate(logs) if places[number] in places[:number]]:
        raise InputError(f"the log {twice[0]} is given twice, so that episodes held out of one would be learned from in the other; give "
                         "each log once.")
    found, refused, count, seen = [], [], 0, set()
    for path, log in zip(logs, map(open_log, logs), strict=True):
        count += len(log)
        for number in range(len(log)):
            try:
                episode = _usable(at_rate(log[number], spec), spec)
            except DataError as error:
                refused.append(str(error))
                continue
            if (place := _place(episode)) in seen:
                raise InputError(f"the episode {episode.source} is given twice, again by the log {path}, so that it may be both held out "
                                 "and learned from; give each episode once.")
            seen.add(place)
            found.append(episode)
    leave_out(refused, count)
    return found


def leave_out(refused: Sequence[str], count: int) -> None:
    """Names on stderr the episodes, of `count`, that are left out, by what is wrong with each. DataError where those are all of them, or
    several and more than the share LEFT_OUT."""
    if refused and (len(refused) == count or len(refused) > max(1, LEFT_OUT * count)):
        raise DataError(refused[0] if count == 1 else
                        f"{len(refused)} of {count} episodes are of no use, too many to leave out; the first: {refused[0]}")
    for reason in refused:
        tqdm.write(f"left out: {reason}", file=sys.stderr)


def _place(episode: Episode) -> tuple[Path, str]:
    """Its file, whatever path led there, and its name in it."""
    file, _, name = episode.source.partition(": ")
    return Path(file).resolve(), name


def _usable(episode: Episode, spec: RobotSpec) -> Episode:
    """The episode itself. Raises DataError where nothing can be learned from it."""
    check_limits(episode, spec)
    if len(episode) < 2:
        raise DataError(f"{episode.source} has {len(episode)} step: there is no motion in it.")
    if spec.camera not in episode.cameras:
        raise DataError(f"{episode.source} has no camera '{spec.camera}', which robot.toml names; it has "
                        f"{', '.join(episode.cameras) or 'none'}.")
    # Whether a video has a frame for every step shows at its first one. To look at all of them would take as long as the work.
    episode.frames(spec.camera, np.zeros(1, np.int64))
    return episode
