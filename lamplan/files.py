"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Raises OSError where nothing can be made in a folder, or in the last one on the way to it that there is: to be told before the work
    whose results go there. It leaves nothing behind, and several processes may try at once."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        os.rmdir(tempfile.mkdtemp(dir=there))
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(folder)) from None


def bytes_under(path: Path) -> int:
    """Length of a file, or of all files in a folder together, without those that systems hide in folders that somebody looked at."""
    if not path.is_dir():
        return file_bytes(path)
    return sum(file_bytes(file) for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))


def file_bytes(path: Path) -> int:
    """Length of a file; -1 when there is none, which shows when it is read."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1
