"""Curves of a training run, for TensorBoard and as CSV."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

HEADER = ["step", "seconds", "name", "value"]


class Curves:
    """Scalars to TensorBoard and to `curves.csv`. A run that goes on from an earlier step forgets what lies beyond it, so
    that its curves become those of a run that was never interrupted."""

    def __init__(self, out: Path, step: int) -> None:
        self._tensorboard = SummaryWriter(str(out / "tensorboard"), purge_step=step or None)
        path = out / "curves.csv"
        kept = [row for row in _read(path) if int(row[0]) <= step]
        # A step that was written before and is reached again, as the last one of a finished run, stands only once.
        self._present = {(int(row[0]), row[2]) for row in kept if int(row[0]) == step}
        partial = path.with_suffix(".tmp")
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *kept])
        os.replace(partial, path)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)

    def add(self, step: int, seconds: float, scalars: dict[str, float]) -> None:
        for name, value in scalars.items():
            if (step, name) not in self._present:
                self._tensorboard.add_scalar(name, value, step)
                self._csv.writerow([step, f"{seconds:.1f}", name, f"{value:.9g}"])
        self._file.flush()

    def close(self) -> None:
        self._tensorboard.close()
        self._file.close()


def _read(path: Path) -> list[list[str]]:
    """The whole rows of an earlier file; the last one may have been cut off by a kill."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return [row for row in csv.reader(whole.splitlines()) if len(row) == len(HEADER) and row != HEADER]
