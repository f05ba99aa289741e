"""A check-up in words, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lamplan.checkup.examine import Checkup
from lamplan.checkup.finding import Finding
from lamplan.checkup.survey import AXES, UNITS

# Findings of one topic that are printed; a fault of a recording is often in every episode of it.
SHOWN = 3


def summary(found: Checkup) -> str:
    """Facts, axes and findings of one log."""
    width = max(map(len, found.facts))
    lines = [found.survey.name, *(f"  {name:<{width}}  {fact}" for name, fact in found.facts.items())]
    header, body = axis_grid(found)
    if body:
        table = [header, *body]
        widths = [max(len(row[column]) for row in table) for column in range(len(header))]
        lines += ["", *("  " + "  ".join(word.rjust(size) for word, size in zip(row, widths, strict=True)) for row in table)]
    for title, findings in (("TROUBLE", found.troubles), ("note", found.notes)):
        lines += [""] if findings else []
        lines += [f"  {title} {line}" for line in grouped(findings)]
    return "\n".join(lines)


def grouped(findings: Sequence[Finding], shown: int = SHOWN) -> list[str]:
    """One line per finding, topic by topic, and how many more of that topic there are."""
    lines = []
    for topic in dict.fromkeys(finding.topic for finding in findings):
        same = [finding for finding in findings if finding.topic == topic]
        lines += [f"[{topic}] {finding}" for finding in same[:shown]]
        lines += [f"[{topic}] ... and {len(same) - shown} more like these."] if len(same) > shown else []
    return lines


def axis_grid(found: Checkup) -> tuple[list[str], list[list[str]]]:
    """Header and body of the table of axes: states, motion per step and commands, by percentiles."""
    survey = found.survey
    if survey.kind is None:
        return [], []
    states = np.concatenate([episode.states for episode in survey.episodes])
    header = ["axis", "unit", "state min", "max", "motion 1 %", "99 %", "largest"]
    header += ["command 1 %", "99 %", "largest"] if len(survey.commands) else []
    body = []
    for axis, (name, unit) in enumerate(zip(AXES[survey.kind], UNITS[survey.kind], strict=True)):
        row = [name, unit, *_digits([states[:, axis].min(), states[:, axis].max()])]
        for values in (survey.motion, survey.commands):
            if len(values):
                row += _digits([*np.quantile(values[:, axis], [0.01, 0.99]), np.abs(values[:, axis]).max()])
        body.append(row)
    return header, body


def _digits(values: Sequence[float]) -> list[str]:
    return [f"{value:.3g}" for value in values]
