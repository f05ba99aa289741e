"""`open_log`: finds the reader that knows a log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lamplan.errors import DataError
from lamplan.logs import droid, franka, lerobot, recon, recon_folders, rlds, robomimic, start_goal
from lamplan.logs.episode import Episode


class Format(Protocol):
    """A file format: one module of this folder each."""

    NAME: str  # what its users call it, and what a path of it is: "robomimic HDF5 (.hdf5)"

    def recognises(self, path: Path) -> bool:
        """Whether a file or folder has the marks of this format. Cheap, and never an error."""
        ...

    def read(self, path: Path) -> Sequence[Episode]:
        """Its episodes, in recorded order. DataError says which part of the layout is missing or wrong."""
        ...


# The first that recognises a path reads it, so the more particular formats stand first.
FORMATS: tuple[Format, ...] = (droid, franka, recon, recon_folders, start_goal, robomimic, lerobot, rlds)


def open_log(path: str | Path) -> Sequence[Episode]:
    """Episodes of a robot log, in recorded order; images stay in the file until they are asked for.

    Raises DataError when the file is missing, damaged or of a layout that no reader knows.
    """
    return format_of(path).read(Path(path))


def format_of(path: str | Path) -> Format:
    """The reader that knows a log. Raises DataError when the file is missing or none does."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"no robot log at {path}: give a recorded file or folder ({known()}).")
    for form in FORMATS:
        if form.recognises(path):
            return form
    raise DataError(f"{path} is no robot log that can be read: expected {known()}.")


def known() -> str:
    """The formats by name, for messages."""
    return "; ".join(form.NAME for form in FORMATS)
