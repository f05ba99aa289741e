"""The picture of an energy check: cost over offsets from the true action."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lamplan.report.plots import MEASURED_COLOUR, REFERENCE_COLOUR, new_figure, save_figure

SHOWN = 6  # single pairs in the last row


def plot_energy(offsets: np.ndarray, curves: np.ndarray, planes: dict[tuple[int, int], np.ndarray], names: tuple[str, ...],
                units: tuple[str, ...], path: Path) -> Path:
    """Draws curves (B, A, K) over offsets (A, K), each pair's and their mean; below them the mean landscape (L, L) of each of the
    `planes` (B, L, L), and the first landscape of some single pairs where there are several. Crosses mark the true action, dots the
    minimum."""
    columns, rows = max(len(names), SHOWN), 2 if len(curves) == 1 else 3
    figure = new_figure(2.3 * columns, 2.4 * rows)
    grid = figure.add_gridspec(rows, columns)
    first = None
    for a, (name, unit) in enumerate(zip(names, units, strict=True)):
        axes = figure.add_subplot(grid[0, a], sharey=first)  # one scale: an axis that hardly matters looks flat
        first = first or axes
        axes.plot(offsets[a], curves[:, a].T, color=REFERENCE_COLOUR, lw=0.6, alpha=0.5)
        mean = curves[:, a].mean(axis=0)
        axes.plot(offsets[a], mean, color=MEASURED_COLOUR, lw=2)
        axes.plot(offsets[a][mean.argmin()], mean.min(), "o", color=MEASURED_COLOUR)
        axes.axvline(0, color="black", lw=0.8, ls=":")
        axes.set_xlabel(f"{name} - true ({unit})")
        axes.spines[["top", "right"]].set_visible(False)
        if a == 0:
            axes.set_ylabel("cost / that of doing nothing")
    for column, ((a, b), costs) in enumerate(planes.items()):
        axes = figure.add_subplot(grid[1, 2 * column : 2 * column + 2])
        shown = _landscape(axes, offsets[a], offsets[b], costs.mean(axis=0))
        figure.colorbar(shown, ax=axes)
        axes.set(xlabel=f"{names[a]} - true ({units[a]})", ylabel=f"{names[b]} - true ({units[b]})", title=f"mean of {len(costs)}")
    (a, b), costs = next(iter(planes.items()))
    single = np.unique(np.linspace(0, len(costs) - 1, min(SHOWN, len(costs))).round().astype(int)) if rows > 2 else []
    for column, number in enumerate(single):
        axes = figure.add_subplot(grid[2, column])
        _landscape(axes, offsets[a], offsets[b], costs[number])
        axes.set(xlabel=f"{names[a]} - true", ylabel=f"{names[b]} - true", title=f"pair {number}")
    return save_figure(figure, path)


def _landscape(axes, x: np.ndarray, y: np.ndarray, costs: np.ndarray):  # type: ignore[no-untyped-def]
    """Costs (L, L) over x and y, whose ends the offsets give."""
    at_x, at_y = (np.linspace(line[0], line[-1], size) for line, size in zip((x, y), costs.shape, strict=True))
    shown = axes.contourf(at_x, at_y, costs.T, levels=14, cmap="viridis")
    least = np.unravel_index(costs.argmin(), costs.shape)
    axes.plot(0, 0, "+", color="white", ms=10, mew=2)
    axes.plot(at_x[least[0]], at_y[least[1]], "o", color="red", ms=5)
    return shown
