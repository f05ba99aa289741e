"""The card beside weights: what they were made from, by which command, at what cost, and how they scored. Written, never typed."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from lamplan.train.loop import Trained

NAME = "README.md"
MEASURED = "<!-- measured -->"


def write_card(folder: Path, title: str, facts: dict[str, dict[str, Any]], stages: dict[str, Trained]) -> None:
    """Writes `folder/README.md`. What a person added below the last generated line of an older card is kept."""
    lines = [f"# {title} `{folder.name}`", "", f"    {command()}", ""]
    for heading, entries in facts.items():
        if entries:
            lines += [f"## {heading}", "", *(f"- {line}" for line in _flat(entries)), ""]
    for name, stage in stages.items():
        shared = f"{stage.processes} processes of " if stage.processes > 1 else ""
        kept = f"; the weights are those of step {stage.kept}, the best" if stage.kept != stage.steps else ""
        lines += [f"## Training: {name}", "", f"- {stage.steps} steps in {stage.minutes:.1f} minutes of wall time on "
                  f"{platform.machine()}, {shared}{torch.get_num_threads()} threads{kept}", ""]
        if stage.validation:
            lines += ["| held-out | value |", "|---|---|", *(f"| {key} | {value:.4f} |" for key, value in stage.validation.items()), ""]
    path = folder / NAME
    older = path.read_text(encoding="utf-8") if path.exists() else ""
    added = older.partition(MEASURED)[2] or "\n"
    partial = path.with_suffix(".tmp")
    partial.write_text("\n".join([*lines, MEASURED]) + added, encoding="utf-8")
    os.replace(partial, path)


def command() -> str:
    """The command line of this process, as a user would type it."""
    return shlex.join(["lamplan", *sys.argv[1:]])


def _flat(entries: dict[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for key, value in entries.items():
        lines += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}: {value}"]
    return lines
