"""A picture of one plan."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def plot_plan(actions: np.ndarray, cost_curve: np.ndarray, start_cost: np.ndarray, names: tuple[str, ...], path: Path) -> None:
    """Writes a PNG: on the left the best cost over the search's iterations, on the right the actions ([B,] H, A) of the first episode."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot(np.arange(1, len(cost_curve) + 1), cost_curve.reshape(len(cost_curve), -1), marker=".")
    left.axhline(float(np.mean(start_cost)), color="grey", linestyle="--", label="before moving")
    left.set(xlabel="iteration", ylabel="squared feature distance to the goal")
    left.legend()
    for name, values in zip(names, actions.reshape(-1, *actions.shape[-2:])[0].T, strict=True):
        right.plot(np.arange(len(values)), values, marker="o", label=name)
    right.set(xlabel="step", ylabel="action (m, rad)")
    right.legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
