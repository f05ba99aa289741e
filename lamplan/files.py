"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write under. The file gets its own when the block ends, and is removed where it raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def try_folder(folder: Path) -> None:
    """Raises OSError where a folder cannot be made, to be told before the work whose results go there. Leaves no new one behind."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # somebody may use it by now
        for path in made:
            path.rmdir()


def bytes_under(path: Path) -> int:
    """Length of a file, or of all files in a folder together."""
    return sum(map(file_bytes, filter(Path.is_file, path.rglob("*")))) if path.is_dir() else file_bytes(path)


def file_bytes(path: Path) -> int:
    """Length of a file; -1 when there is none, which shows when it is read."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1
