"""What all readers demand of the parts of an episode: finite numbers, one length, pictures of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lamplan.errors import DataError


def check_finite(values: np.ndarray, what: str) -> None:
    """Raises DataError, which begins with `what`, unless all values (T, ...) are finite."""
    if not np.isfinite(values).all():
        step = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise DataError(f"{what} holds a NaN or an infinity at step {step}; leave this episode out of the log.")


def check_lengths(lengths: Mapping[str, int], where: str) -> None:
    """Raises DataError unless all parts of an episode, by name, have the same number of steps."""
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise DataError(f"{where}: all parts of an episode must have the same number of steps, found {found}.")


def stack_images(images: Sequence[np.ndarray], what: str) -> np.ndarray:
    """Images (K, H, W, 3) of at least one image; DataError, which begins with `what`, where they differ in size."""
    if len({image.shape for image in images}) > 1:
        raise DataError(f"{what} changes its picture size within the episode.")
    return np.stack(images)
