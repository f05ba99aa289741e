"""`identity`: what tells robot logs from others, so that what was begun on some does not go on on different ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lamplan.files import bytes_under
from lamplan.logs.episode import Episode
from lamplan.logs.open import open_log


def identity(logs: Sequence[Path], episodes: Sequence[Episode]) -> dict[str, str]:
    """Name, size and number of episodes of each log, and a short hash of all states and commands of the `episodes` read from them.

    Where the logs lie does not count. Pictures count by the size of what holds them: to read them all would take as long as the work.
    """
    digest = hashlib.sha256()
    for episode in episodes:
        for values in (episode.states, episode.actions):
            if values is not None:
                digest.update(repr(values.shape).encode() + np.ascontiguousarray(values).tobytes())
    named = [f"{log.resolve().name} of {len(open_log(log))} episodes and {bytes_under(log)} bytes" for log in logs]
    return {"logs": ", ".join(named), "states and commands": digest.hexdigest()[:16]}
