"""Smallest, largest, mean and spread of every feature, as LeRobot keeps them per episode and for the whole data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Pixels of about this many images are enough to know an episode's brightness.
SAMPLED_IMAGES = 32
KINDS = ("min", "max", "mean", "std", "count")
Stats = dict[str, np.ndarray]
"""min, max, mean, std of shape (W,), or (3, 1, 1) for images on a scale of 0 to 1; count of shape (1,)."""


def stats_of(values: np.ndarray) -> Stats:
    """Of numbers (T,) or (T, W)."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    return {"min": columns.min(0), "max": columns.max(0), "mean": columns.mean(0), "std": columns.std(0), "count": np.array([len(columns)])}


def stats_of_images(images: np.ndarray) -> Stats:
    """Of uint8 images (T, H, W, 3), over their pixels."""
    sampled = images[:: -(-len(images) // SAMPLED_IMAGES)]
    stats = stats_of(sampled.reshape(-1, 3) / 255)
    return {name: values.reshape(3, 1, 1) for name, values in stats.items() if name != "count"} | {"count": np.array([len(sampled)])}


def join(parts: Sequence[Stats]) -> Stats:
    """Stats of a whole from those of its parts, each weighted by its count."""
    low, high, means, stds, count = (np.stack([part[kind] for part in parts]) for kind in KINDS)
    weights = (count / count.sum()).reshape(-1, *(1,) * (means.ndim - 1))
    mean = (weights * means).sum(0)
    spread = (weights * (stds**2 + (means - mean) ** 2)).sum(0)
    return dict(zip(KINDS, (low.min(0), high.max(0), mean, np.sqrt(spread), count.sum(0)), strict=True))
