"""`episodes_of`: what a robot's controller and its rivals learn from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

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

    An episode that cannot be opened, lacks the robot's camera, has a single step or is refused by `check_limits` (a collision, a slip) is
    named on stderr and left out. DataError where that is true of all of them, or of several and more than the share LEFT_OUT; InputError
    where a log is given twice.
    """
    places = [log.resolve() for log in logs]
    if twice := [log for number, log in enumerate(logs) if places[number] in places[:number]]:
        raise InputError(f"the log {twice[0]} is given twice, so that episodes held out of one would be learned from in the other; give "
                         "each log once.")
    found, refused, count = [], [], 0
    for log in map(open_log, logs):
        count += len(log)
        for number in range(len(log)):
            try:
                found.append(_usable(at_rate(log[number], spec), spec))
            except DataError as error:
                refused.append(str(error))
    if refused and (not found or len(refused) > max(1, LEFT_OUT * count)):
        raise DataError(refused[0] if count == 1 else
                        f"{len(refused)} of {count} episodes are of no use, too many to leave out; the first: {refused[0]}")
    for reason in refused:
        tqdm.write(f"left out: {reason}", file=sys.stderr)
    return found


def _usable(episode: Episode, spec: RobotSpec) -> Episode:
    """The episode itself. Raises DataError where nothing can be learned from it."""
    check_limits(episode, spec)
    if len(episode) < 2:
        raise DataError(f"{episode.source} has {len(episode)} step: there is no motion in it.")
    if spec.camera not in episode.cameras:
        raise DataError(f"{episode.source} has no camera '{spec.camera}', which robot.toml names; it has "
                        f"{', '.join(episode.cameras) or 'none'}.")
    return episode
