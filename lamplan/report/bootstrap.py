"""The bootstrap interval that stands beside every mean."""

from __future__ import annotations

import numpy as np

from lamplan.errors import InputError

RESAMPLES = 10_000


def bootstrap_mean(values: np.ndarray, seed: int = 0, level: float = 0.95,
                   groups: np.ndarray | None = None) -> tuple[float, float, float]:
    """Mean of values (n,), one per sample, and the percentile bootstrap interval of that mean: (mean, low, high).

    Values that hang together, such as windows of one recorded episode, share a number in `groups` (n,) and are drawn together: the
    interval then says how much the mean would differ with other episodes. The same seed gives the same interval. Raises InputError
    for no values or values that are not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise InputError(f"a mean needs at least one finite number per sample, found an array of shape {values.shape}: {values!r:.200}.")
    _, group = np.unique(np.arange(len(values)) if groups is None else groups, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
    picks = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    low, high = np.quantile(sums[picks].sum(axis=1) / counts[picks].sum(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean()), float(low), float(high)
