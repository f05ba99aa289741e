"""A picture of one plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lamplan.report.plots import new_figure, save_figure


def plot_plan(actions: np.ndarray, cost_curve: np.ndarray, start_cost: np.ndarray, names: tuple[str, ...], path: Path,
              pictures: Mapping[str, np.ndarray] | None = None) -> Path:
    """Draws the best cost over the search's iterations, and beside it the actions ([B,] H, A) of the first episode; below them
    captioned images (H, W, 3) uint8 in a row, if there are any."""
    figure = new_figure(9, 5.2 if pictures else 3.2)
    upper: Any = figure
    if pictures:
        rows: Any = figure.subfigures(2, 1, height_ratios=(3.2, 2))
        upper, lower = rows
        for axes, (caption, image) in zip(lower.subplots(1, len(pictures), squeeze=False)[0], pictures.items(), strict=True):
            axes.imshow(image)
            axes.set_title(caption, fontsize="small")
            axes.set_axis_off()
    left, right = upper.subplots(1, 2)
    left.plot(np.arange(1, len(cost_curve) + 1), cost_curve.reshape(len(cost_curve), -1), marker=".")
    left.axhline(float(np.mean(start_cost)), color="grey", linestyle="--", label="before moving")
    left.set(xlabel="iteration", ylabel="squared feature distance to the goal")
    left.legend()
    for name, values in zip(names, actions.reshape(-1, *actions.shape[-2:])[0].T, strict=True):
        right.plot(np.arange(len(values)), values, marker="o", label=name)
    right.set(xlabel="step", ylabel="action (m, rad)")
    right.legend(fontsize="small")
    return save_figure(figure, path)
