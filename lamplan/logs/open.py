"""`open_log`: chooses the reader by the file's suffix."""

from __future__ import annotations

from pathlib import Path

from lamplan.errors import DataError
from lamplan.logs import robomimic
from lamplan.logs.episode import Episode

READERS = {".hdf5": robomimic.read, ".h5": robomimic.read}


def open_log(path: str | Path) -> list[Episode]:
    """Episodes of a robot log, in recorded order; images stay in the file until they are asked for.

    Raises DataError when the file is missing, damaged or of a layout that no reader knows.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"no robot log at {path}: give a recorded file ({', '.join(READERS)}).")
    reader = READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        raise DataError(f"{path} is no robot log that can be read: expected a file ending in {' or '.join(READERS)}.")
    return reader(path)
