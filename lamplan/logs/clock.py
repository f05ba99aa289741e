"""The rate of a recording by its own clock."""

from __future__ import annotations

import numpy as np

from lamplan.errors import DataError

SLOWEST_HZ, FASTEST_HZ = 0.1, 1_000.0


def rate_of(times_s: np.ndarray, where: str) -> float:
    """Steps per second of times (T,) in seconds, T at least 2; pauses do not count.

    Raises DataError where the clock stands still, runs backwards, or gives a rate at which no robot is recorded.
    """
    steps = np.diff(times_s)
    if (steps <= 0).any():
        step = int(np.argmax(steps <= 0))
        raise DataError(f"{where}: the clock stands still or runs backwards at step {step + 1} "
                        f"({steps[step]:+.6g} s after the step before); leave this episode out.")
    # The median finds the steps that are no pause; their mean is free of the clock's rounding.
    rate_hz = 1 / float(steps[steps < 1.5 * np.median(steps)].mean())
    if not SLOWEST_HZ <= rate_hz <= FASTEST_HZ:
        raise DataError(f"{where}: the clock gives {rate_hz:g} Hz, which is no robot's rate; its unit is not the expected one.")
    return rate_hz
