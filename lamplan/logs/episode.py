"""`Episode`: what every log reader returns, whatever the file format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lamplan.errors import DataError, InputError


@dataclass(frozen=True)
class Episode:
    """One recorded run of a robot: T steps at `rate_hz`, step t holding what was seen and what was then commanded.

    states:   (T, S) float64, as `RobotSpec` defines them (metres, radians).
    actions:  (T, A) float64, the commands; `actions[t]` was executed between steps t and t+1.
    cameras:  observation keys with images, such as `exterior_image`.
    source:   where it was read, for messages: `FILE: demo_3`.
    read:     gives the images of a camera; called by `frames`, so that a log of any length opens without its images.
    """

    states: np.ndarray = field(repr=False)
    actions: np.ndarray = field(repr=False)
    rate_hz: float
    cameras: tuple[str, ...]
    source: str
    read: Callable[[str], np.ndarray] = field(repr=False)
    robot: str = ""

    def __len__(self) -> int:
        return len(self.states)

    def frames(self, camera: str) -> np.ndarray:
        """Images (T, H, W, 3) uint8 of one camera, read from the file at every call."""
        if camera not in self.cameras:
            raise InputError(f"{self.source} has no camera '{camera}'; it has {', '.join(self.cameras) or 'none'}.")
        images = self.read(camera)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise DataError(f"{self.source}: '{camera}' must be uint8 images (T, H, W, 3), found {images.dtype} {images.shape}.")
        if len(images) != len(self):
            raise DataError(f"{self.source}: '{camera}' has {len(images)} images for {len(self)} states; there must be one per step.")
        return images
