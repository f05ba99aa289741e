"""Smooth random fields, the raw material of terrain and textures."""

from __future__ import annotations

import numpy as np


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Field (size, size) float32 in [0, 1]: uniform values on a grid of `cells` cells a side, blended smoothly in between.

    The field repeats without a seam when it is laid side by side.
    """
    grid = rng.random((cells, cells), dtype=np.float32)
    place = np.arange(size) * (cells / size)
    cell = place.astype(int)
    part = place - cell
    part = part * part * (3.0 - 2.0 * part)
    weights = np.zeros((size, cells), dtype=np.float32)
    weights[np.arange(size), cell] = 1.0 - part
    weights[np.arange(size), (cell + 1) % cells] += part
    return weights @ grid @ weights.T


def octaves(rng: np.random.Generator, cells: tuple[int, ...], size: int, fade: float = 0.5) -> np.ndarray:
    """Sum of `smooth_noise` fields, each finer one weaker by `fade`, divided by the total weight: (size, size)."""
    weights = fade ** np.arange(len(cells), dtype=np.float32)
    fields = [weight * smooth_noise(rng, count, size) for weight, count in zip(weights, cells, strict=True)]
    return np.sum(fields, axis=0) / weights.sum()
