"""Plots of a robot log: where it went, what was commanded and done, and how its clock ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lamplan.report.plots import MEASURED_COLOUR, REFERENCE_COLOUR, new_figure, save_figure

# More lines than this hide each other.
EPISODES_DRAWN = 30


def trajectories(episodes: Sequence[tuple[np.ndarray, np.ndarray]], names: Sequence[str], path: Path) -> Path:
    """Every number of the state over time, a line per episode: `episodes` holds times (T,) in seconds and states (T, S)."""
    drawn = [episodes[i] for i in np.unique(np.linspace(0, len(episodes) - 1, min(len(episodes), EPISODES_DRAWN)).astype(int))]
    figure = new_figure(9, 1.1 + 1.25 * len(names))
    for axes, axis, name in zip(figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], range(len(names)), names, strict=True):
        for times, states in drawn:
            axes.plot(times, states[:, axis], lw=0.8, alpha=0.7, marker="." if len(times) < 3 else None)
        axes.set_ylabel(name, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"time (s); {len(drawn)} of {len(episodes)} episodes")
    return save_figure(figure, path)


def action_histograms(moved: np.ndarray, told: np.ndarray, names: Sequence[str], limits: tuple[np.ndarray, np.ndarray],
                      path: Path) -> Path:
    """Motion (n, A) and commands (m, A), m perhaps 0, axis by axis on a logarithmic scale; limits (A), (A) as lines."""
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(2.6 * columns, 0.5 + 2.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(names):]:
        axes.set_visible(False)
    for axis, (axes, name) in enumerate(zip(grid, names, strict=False)):
        shown = {"commanded": (told, REFERENCE_COLOUR), "measured": (moved, MEASURED_COLOUR)}
        ends = [values[:, axis] for values, _ in shown.values() if len(values)]
        edges = np.linspace(min(map(np.min, ends)), max(max(map(np.max, ends)), min(map(np.min, ends)) + 1e-9), 41)
        for label, (values, colour) in shown.items():
            if len(values):
                axes.hist(values[:, axis], edges, histtype="stepfilled", color=colour, alpha=0.6, label=label)
        for limit in limits:
            axes.axvline(limit[axis], color="#c0392b", lw=1, ls="--")
        axes.set_yscale("log")
        axes.set_xlabel(name, fontsize=8)
        axes.tick_params(labelsize=7)
    grid[0].legend(frameon=False, fontsize=7)
    return save_figure(figure, path)


def time_steps(steps_s: np.ndarray, usual_s: float, path: Path) -> Path:
    """The time (n,) from each step to the next, in the order of recording, beside the usual one."""
    figure = new_figure(9, 2.4)
    axes = figure.subplots()
    axes.plot(1000 * steps_s, ".", ms=2, color=MEASURED_COLOUR)
    axes.axhline(1000 * usual_s, color="black", lw=0.8, ls=":")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="step, all episodes in a row", ylabel="to the next step (ms)")
    axes.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, path)


def lag_curve(correlations: Mapping[int, float], path: Path) -> Path:
    """How well commands and motion agree when the motion is taken some steps later."""
    figure = new_figure(4.6, 2.6)
    axes = figure.subplots()
    axes.plot(list(correlations), list(correlations.values()), marker="o", color=MEASURED_COLOUR)
    axes.axvline(0, color="black", lw=0.8, ls=":")
    axes.set_ylim(0, 1)
    axes.set(xlabel="steps between command and motion", ylabel="mean |correlation|")
    axes.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, path)
