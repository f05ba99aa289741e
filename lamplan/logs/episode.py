"""`Episode`: what every log reader returns, whatever the file format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from lamplan.errors import DataError, InputError

Read = Callable[[str, np.ndarray], np.ndarray]
"""Images (K, H, W, 3) of a camera at the steps (K,)."""


def _unknown(camera: str) -> None:
    """How the cameras stood, in a log that does not say."""


@dataclass(frozen=True)
class Episode:
    """One recorded run of a robot: T steps at `rate_hz`, step t holding what was seen and what was then commanded.

    states:   (T, S) float64, as `RobotSpec` defines them (metres, radians).
    actions:  (T, A) float64, the commands, an arm's in the base frame; `actions[t]` was executed between steps t and t+1. None where they
              were not recorded, or were given at another rate: what the robot did is then all that is known.
    cameras:  names of the cameras, such as `exterior_image`.
    source:   where it was read, for messages: `FILE: demo_3`.
    read:     gives the images of a camera at some steps; called by `frames`, so that a log of any length opens without its images.
    times_s:  (T,) seconds by the recording's own clock, increasing; None where only the rate is known.
    stated_hz: the rate that the log's header or its format states beside such a clock, which is believed where they differ.
    video_hz: gives the rates in the headers of the video files by camera; never used for reading, only to be reported.
    axes:     gives how a camera stood at every recorded step: (n, 3, 3), whose columns are its axes in the base frame; None where the
              log does not say.
    """

    states: np.ndarray = field(repr=False)
    actions: np.ndarray | None = field(repr=False)
    rate_hz: float
    cameras: tuple[str, ...]
    source: str
    read: Read = field(repr=False)
    robot: str = ""
    times_s: np.ndarray | None = field(default=None, repr=False)
    stated_hz: float | None = None
    video_hz: Callable[[], dict[str, float]] = field(default=dict, repr=False)
    axes: Callable[[str], np.ndarray | None] = field(default=_unknown, repr=False)

    def __len__(self) -> int:
        return len(self.states)

    def frames(self, camera: str, steps: np.ndarray | slice | None = None) -> np.ndarray:
        """Images (T, H, W, 3) uint8 of one camera, or those at some steps (K, H, W, 3), read from the file at every call."""
        if camera not in self.cameras:
            raise InputError(f"{self.source} has no camera '{camera}'; it has {', '.join(self.cameras) or 'none'}.")
        wanted = np.arange(len(self)) if steps is None else np.arange(len(self))[steps]
        images = self.read(camera, wanted)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise DataError(f"{self.source}: '{camera}' must be uint8 images (T, H, W, 3), found {images.dtype} {images.shape}.")
        if len(images) != len(wanted):
            raise DataError(f"{self.source}: '{camera}' has {len(images)} images for {len(wanted)} states; there must be one per step.")
        return images

    def resampled(self, rate_hz: float) -> Episode:
        """The episode at a lower rate: at every 1 / rate_hz seconds the step recorded nearest to it, by the log's own clock.

        Commands that lasted a shorter step are dropped: a robot lags behind them and does less than their sum, so that nothing tells what a
        longer one would have been. The motion between the states remains.
        Raises InputError where the log is slower than `rate_hz`.
        """
        if abs(rate_hz / self.rate_hz - 1) < 1e-6:
            return self
        if rate_hz > self.rate_hz * 1.02:
            raise InputError(f"{self.source} was recorded at {self.rate_hz:g} Hz; it cannot be read at {rate_hz:g} Hz.")
        times = np.arange(len(self)) / self.rate_hz if self.times_s is None else self.times_s - self.times_s[0]
        targets = np.arange(int(np.floor(times[-1] * rate_hz + 1e-6)) + 1) / rate_hz
        after = np.minimum(np.searchsorted(times, targets), len(times) - 1)
        before = np.maximum(after - 1, 0)
        steps = np.unique(np.where(targets - times[before] <= times[after] - targets, before, after))  # of two as near the earlier
        read = self.read
        return replace(self, states=self.states[steps], actions=None, rate_hz=rate_hz, read=lambda camera, some: read(camera, steps[some]),
                       times_s=None if self.times_s is None else self.times_s[steps], stated_hz=None)
