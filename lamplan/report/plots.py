"""Plots of results: bars with intervals, and paths seen from above."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lamplan.report.results import Results, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REFERENCE_COLOUR, MEASURED_COLOUR = "#9aa5b1", "#1f6feb"


def bar_chart(rows: list[Row], path: Path) -> Path:
    """Bars with 95 % intervals for rows of one task and metric; rows named `lam*` stand out, `zero` is drawn as a line."""
    figure = new_figure(6.4, 0.8 + 0.36 * len(rows))
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    values = np.array([row.value for row in rows])
    reach = np.array([[row.value - row.ci_low for row in rows], [row.ci_high - row.value for row in rows]])
    colours = [MEASURED_COLOUR if row.name.startswith("lam") else REFERENCE_COLOUR for row in rows]
    axes.barh(places, values, xerr=np.maximum(reach, 0.0), color=colours, height=0.66, error_kw={"capsize": 3, "lw": 1})
    for row in rows:
        if row.name == "zero":
            axes.axvline(row.value, color="#444444", lw=0.8, ls=":")
    axes.set_yticks(places, [row.name for row in rows])
    least, most = min(row.n for row in rows), max(row.n for row in rows)
    counts = str(most) if least == most else f"{least} to {most}"
    axes.set_xlabel(f"{rows[0].metric} ({rows[0].unit}), mean and 95 % interval, n = {counts}")
    axes.set_title(rows[0].task, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, path)


def all_bar_charts(results: Results, folder: Path) -> list[Path]:
    """A bar chart for every task and metric of the results, as `folder/TASK-METRIC.png`."""
    return [bar_chart(results.find(task, metric), folder / f"{task}-{metric}.png".replace(" ", "_").replace("/", "_"))
            for task, metric in results.charts()]


def paths_from_above(paths: Mapping[str, np.ndarray], path: Path, title: str) -> Path:
    """Draws named paths (T, 2) in metres on equal axes; the path named `true` is black."""
    figure = new_figure(4.2, 4.2)
    axes = figure.subplots()
    for name, points in paths.items():
        axes.plot(points[:, 0], points[:, 1], marker=".", lw=1.2, label=name, color="black" if name == "true" else None)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("x (m)")
    axes.set_ylabel("y (m)")
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    return save_figure(figure, path)


def trade_off(costs: list[Row], errors: list[Row], path: Path) -> Path:
    """Error against cost, with intervals; rows whose names differ in their last word alone (`cem 32x3`, `cem 80x6`) make one line."""
    figure = new_figure(5.6, 4.0)
    axes = figure.subplots()
    lines: dict[str, list[tuple[Row, Row]]] = {}
    for cost, error in zip(costs, errors, strict=True):
        lines.setdefault(error.name.rpartition(" ")[0] or error.name, []).append((cost, error))
    for name, points in lines.items():
        points.sort(key=lambda point: point[0].value)
        x, y = np.array([cost.value for cost, _ in points]), np.array([error.value for _, error in points])
        reach = np.array([[error.value - error.ci_low for _, error in points], [error.ci_high - error.value for _, error in points]])
        axes.errorbar(np.maximum(x, 1e-3), y, yerr=np.maximum(reach, 0.0), marker="o", ms=4, capsize=2, lw=1.2, label=name)
    axes.set_xscale("log")
    axes.set_xlabel(f"{costs[0].metric} ({costs[0].unit})")
    axes.set_ylabel(f"{errors[0].metric} ({errors[0].unit}), mean and 95 % interval")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, path)


def new_figure(width_inch: float, height_inch: float) -> Figure:
    """A figure that belongs to no window system; matplotlib is loaded here so that tables work without it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inch, height_inch), dpi=120, layout="constrained")


def save_figure(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.png")
    figure.savefig(partial)
    os.replace(partial, path)
    return path
