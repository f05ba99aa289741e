"""The card beside weights: what they were made from, by which command, at what cost, and how they scored. Written, never typed."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from lamplan.train.facts import flat
from lamplan.train.loop import Trained

NAME = "README.md"
MEASURED = "<!-- measured -->"


def write_card(folder: Path, title: str, facts: dict[str, dict[str, Any]], stages: dict[str, Trained]) -> None:
    """Writes `folder/README.md`. What a person added below the last generated line of an older card is kept."""
    lines = [f"# {title} `{folder.name}`", "", f"    {command()}", "", *_described(facts, stages, "##")]
    added = _older(folder).partition(MEASURED)[2] or "\n"
    _replace(folder, "\n".join([*lines, MEASURED]) + added)


def write_section(folder: Path, title: str, facts: dict[str, dict[str, Any]], stages: dict[str, Trained]) -> None:
    """Writes what was added to a checkpoint later as a section at the end of its card, or in the place of an older one."""
    begin, end = f"<!-- {title.lower()} -->", f"<!-- /{title.lower()} -->"
    section = "\n".join([begin, f"## {title}", "", f"    {command()}", "", *_described(facts, stages, "###"), end])
    before, found, rest = _older(folder).partition(begin)
    after = rest.partition(end)[2] if found else "\n"
    _replace(folder, before + ("" if found or not before else "\n") + section + after)


def _described(facts: dict[str, dict[str, Any]], stages: dict[str, Trained], heading: str) -> list[str]:
    lines = []
    for name, entries in facts.items():
        if entries:
            lines += [f"{heading} {name}", "", *(f"- {key}: {value}" for key, value in flat(entries).items()), ""]
    for name, stage in stages.items():
        shared = f"{stage.processes} processes of " if stage.processes > 1 else ""
        kept = f"; the weights are those of step {stage.kept}, the best" if stage.kept != stage.steps else ""
        lines += [f"{heading} Training: {name}", "", f"- {stage.steps} steps in {stage.minutes:.1f} minutes of wall time on "
                  f"{platform.machine()}, {shared}{torch.get_num_threads()} threads{kept}", ""]
        if stage.validation:
            lines += ["| held-out | value |", "|---|---|", *(f"| {key} | {value:.4f} |" for key, value in stage.validation.items()), ""]
    return lines


def _older(folder: Path) -> str:
    path = folder / NAME
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _replace(folder: Path, text: str) -> None:
    partial = (folder / NAME).with_suffix(".tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, folder / NAME)


def command() -> str:
    """The command line of this process, as a user would type it."""
    return shlex.join(["lamplan", *sys.argv[1:]])
