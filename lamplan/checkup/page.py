"""The page of a check-up: what was found, with plots and thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from lamplan.checkup.examine import Checkup
from lamplan.checkup.following import lag_correlations
from lamplan.checkup.suggest import limits, suggest
from lamplan.checkup.survey import AXES, UNITS
from lamplan.checkup.text import axis_grid, grouped
from lamplan.errors import LamplanError
from lamplan.logs.rate import same_rate, tolerance
from lamplan.report.html import figure, grid, write_page
from lamplan.report.log_plots import action_histograms, lag_curve, time_steps, trajectories
from lamplan.report.panels import side_by_side
from lamplan.robot import RobotSpec

NAME = "check.html"
SHOWN = 50


def write_checkup(checkups: Sequence[Checkup], folder: Path, command: str, robot: RobotSpec | None = None) -> Path:
    """Writes `folder/check.html`, which holds everything, and the plots in it as files under `folder/plots`."""
    title = f"lamplan check: {', '.join(Path(found.survey.name).name for found in checkups)}"
    body = [f"<h1>{escape(title)}</h1>", f"<pre>{escape(command)}</pre>"]
    for number, found in enumerate(checkups):
        body += _log(found, folder / "plots" / str(number), robot)
    return write_page(folder / NAME, title, body)


def _log(found: Checkup, plots: Path, robot: RobotSpec | None) -> list[str]:
    parts = [f"<h2>{escape(found.survey.name)}</h2>", grid([], [[name, fact] for name, fact in found.facts.items()])]
    for title, findings in (("Trouble", found.troubles), ("Notes", found.notes)):
        lines = "".join(f"<li>{escape(line)}</li>" for line in grouped(findings, SHOWN))
        parts.append(f"<h3>{title}: {len(findings)}</h3>" + (f"<ul>{lines}</ul>" if lines else ""))
    parts += [figure(path) for path in thumbnails(found, plots)]
    header, body = axis_grid(found)
    if body:
        parts.append(f"<h3>Axes</h3>{grid(header, body)}")
    parts += ["<h3>Plots</h3>", *(figure(path) for path in [*draw(found, plots, robot), *found.pictures])]
    try:
        text = suggest(found, "my_robot")
    except LamplanError as error:
        text = f"# {error}"
    return [*parts, "<h3>A first robot.toml</h3>", f"<pre>{escape(text)}</pre>"]


def thumbnails(found: Checkup, folder: Path) -> list[Path]:
    """A strip of frames of each camera."""
    paths = []
    for name, camera in sorted(found.cameras.items()):
        if camera.thumbnails:
            folder.mkdir(parents=True, exist_ok=True)
            paths.append(folder / f"camera {name}.png".replace("/", "_"))
            Image.fromarray(side_by_side(camera.thumbnails, height=160)).save(paths[-1])
    return paths


def draw(found: Checkup, folder: Path, robot: RobotSpec | None) -> list[Path]:
    """All plots that this log has the numbers for."""
    survey, kind = found.survey, found.survey.kind
    times = [(np.arange(len(one)) / one.rate_hz if one.times_s is None else one.times_s - one.times_s[0], one.states)
             for one in survey.episodes]
    names = [f"{name} ({unit})" for name, unit in zip(AXES[kind], UNITS[kind], strict=True)] if kind else [
        f"state {axis}" for axis in range(min(survey.width, 8))]
    paths = [trajectories(times, names, folder / "states over time.png")]
    if kind and len(survey.motion):
        # A robot's limits are those of its own steps, and in its own frame, while motion and commands are drawn as they are in the log.
        fits = (robot is not None and robot.kind == kind and robot.frame != "camera"
                and same_rate(survey.episodes[0].rate_hz, robot.rate_hz, tolerance(survey.episodes[0])))
        spec = robot if fits else None
        ends = limits(survey.motion, survey.commands, kind) if spec is None else (spec.low, spec.high)
        whose = "suggested" if spec is None else "robot"
        changes = [f"d{name}" for name in names]
        paths.append(action_histograms(survey.motion, survey.commands, changes, ends, folder / f"motion per step, {whose} limits.png"))
        axes = list(range(min(6, survey.width)))
        if len(survey.commands) > 2:
            paths.append(lag_curve(lag_correlations(survey, axes), folder / "lag of motion behind commands.png"))
    clocks = [np.diff(one.times_s) for one in survey.episodes if one.times_s is not None]
    if clocks:
        steps = np.concatenate(clocks)
        paths.append(time_steps(steps, float(np.median(steps)), folder / "time steps.png"))
    return paths
