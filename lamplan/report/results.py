"""`results.json`: the one form in which every benchmark writes its numbers."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lamplan.errors import DataError
from lamplan.report.bootstrap import bootstrap_mean

FILE_NAME = "results.json"


@dataclass(frozen=True)
class Row:
    """One measured mean over `n` samples, which are episodes, windows of them or repeats, with its bootstrap 95 % interval, in `unit`."""

    name: str
    task: str
    metric: str
    unit: str
    value: float
    ci_low: float
    ci_high: float
    n: int


@dataclass(frozen=True)
class Quote:
    """A published number that was not measured here: where it stands, and what keeps it from being compared outright."""

    name: str
    metric: str
    unit: str
    value: float
    source: str
    caveat: str


@dataclass
class Results:
    """All rows of one run of a benchmark, with what is needed to make them again.

    `budget` states, in words or numbers, how much search and how many episodes each part had. `quoted` holds what others published
    for the same protocol.
    """

    benchmark: str
    command: str
    commit: str
    device: str
    seed: int
    budget: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    quoted: list[Quote] = field(default_factory=list)

    @classmethod
    def begin(cls, benchmark: str, seed: int, device: str, argv: Sequence[str] | None = None, **budget: Any) -> Results:
        """Empty results that know the present command line and commit."""
        command = f"python -m benchmarks.{benchmark} {shlex.join(sys.argv[1:] if argv is None else argv)}".strip()
        return cls(benchmark, command, current_commit(), device, seed, dict(budget))

    def add(self, name: str, task: str, metric: str, unit: str, values: np.ndarray, groups: np.ndarray | None = None) -> Row:
        """Appends the row of values (n,), one per sample, shares as 0 and 1; `groups` as in `bootstrap_mean`."""
        values = np.asarray(values, dtype=np.float64)
        row = Row(name, task, metric, unit, *bootstrap_mean(values, self.seed, groups=groups), n=len(values))
        self.rows.append(row)
        return row

    def find(self, task: str, metric: str) -> list[Row]:
        """Rows of one task and metric, in the order in which they were added."""
        return [row for row in self.rows if (row.task, row.metric) == (task, metric)]

    def charts(self) -> list[tuple[str, str]]:
        """Every (task, metric) that has rows, in order of first appearance."""
        return list(dict.fromkeys((row.task, row.metric) for row in self.rows))

    def write(self, folder: Path) -> Path:
        """Writes `folder/results.json`, replacing an older one only once the new one is complete."""
        folder.mkdir(parents=True, exist_ok=True)
        path, partial = folder / FILE_NAME, folder / f"{FILE_NAME}.part"
        partial.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)
        return path

    @classmethod
    def read(cls, path: Path) -> Results:
        """Reads a `results.json`, or the one in a folder. Raises DataError when it is missing or of another form."""
        path = path / FILE_NAME if path.is_dir() else path
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            parts = {"rows": [Row(**row) for row in table["rows"]], "quoted": [Quote(**quote) for quote in table.get("quoted", [])]}
            return cls(**{**table, **parts})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not the results file of a benchmark ({error}); run the benchmark again.") from None


def current_commit() -> str:
    """The checked-out commit, with `-dirty` when files differ from it, or `unknown` outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def describe_device(kind: str) -> str:
    """One line for the results file: the torch device kind and what stands behind it."""
    if kind.startswith("cuda"):
        import torch

        return f"{kind} ({torch.cuda.get_device_name(kind)})"
    return f"{kind} ({platform.machine()}, {os.cpu_count()} cores)"
