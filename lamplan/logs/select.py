"""`episodes_of`: what a robot's controller and its rivals learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from lamplan.errors import DataError
from lamplan.logs.check import check_limits
from lamplan.logs.episode import Episode
from lamplan.logs.open import open_log
from lamplan.logs.rate import at_rate
from lamplan.robot import RobotSpec

LEFT_OUT = 0.05
"""More than this share of episodes that are not the robot's is no accident: the whole log is at fault then."""


def episodes_of(logs: Sequence[Path], spec: RobotSpec) -> list[Episode]:
    """The episodes of all logs, at the robot's rate (see `at_rate`).

    An episode that `check_limits` refuses (a collision, a slip) is named and left out. DataError where that is true of more than the
    share LEFT_OUT of them.
    """
    every = [episode for log in logs for episode in open_log(log)]
    found, refused = [], []
    for episode in every:
        try:
            episode = at_rate(episode, spec)
            check_limits(episode, spec)
            if len(episode) < 2:
                raise DataError(f"{episode.source} has {len(episode)} step: there is no motion in it.")
            found.append(episode)
        except DataError as error:
            refused.append(str(error))
    if len(refused) > LEFT_OUT * len(every):
        some = f" ({len(refused)} of {len(every)} episodes are refused.)" if len(every) > 1 else ""
        raise DataError(refused[0] + some)
    for reason in refused:
        tqdm.write(f"left out: {reason}")
    return found
