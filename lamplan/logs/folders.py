"""Logs that are a tree of folders: finding the episodes, and opening each when it is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from pathlib import Path

from lamplan.logs.episode import Episode
from lamplan.logs.lazy import Episodes, remembered

MAX_DEPTH = 12
# How far `a_few` looks: the first entries of the first folders of a log say what it is.
LOOKED_AT = 2_000
FOLDERS_LOOKED_INTO = 200


def episodes_at(path: Path, pattern: str, form: str, opens: Callable[[Path], Episode]) -> Episodes[str]:
    """The episode of one file, or of all files below a folder that are named like `pattern`, in the order of their paths.

    Each is opened when it is asked for. `form` names the list of files in the user's cache.
    """
    root, names = (path.parent, [path.name]) if path.is_file() else (path, files_below(path, pattern, form))
    return Episodes(names, partial(_open, root, opens))


def files_below(folder: Path, pattern: str, form: str) -> list[str]:
    """Paths relative to `folder` of all files named like `pattern` at any depth, sorted as a reader would, numbers by their value.

    A folder with such a file is not searched for more folders. Links to files are followed, links to folders are not. The list is
    kept in the user's cache under the name of the format.
    """
    return remembered(folder, f"{form}/{pattern}", lambda: _search(folder, pattern))


def a_few(folder: Path, pattern: str) -> list[Path]:
    """Up to five such files, found without walking through the whole log."""
    return list(islice(_glance(folder, pattern), 5))


def _open(root: Path, opens: Callable[[Path], Episode], name: str) -> Episode:
    return opens(root / name)


def _search(folder: Path, pattern: str) -> tuple[list[str], list[Path]]:
    """The files, and the folders that would change if there were more of them."""
    found, sources, waiting = [], [], [(str(folder), 0)]
    while waiting:
        here, depth = waiting.pop()
        names, folders = [], []
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if fnmatchcase(entry.name, pattern):
                        if entry.is_file():
                            names.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:
            continue  # A folder that may not be read holds no episode for this user.
        found += [os.path.relpath(os.path.join(here, name), folder) for name in names]
        # One file of a fixed name is the episode itself: its folder need not be watched, and there may be very many of them.
        if not names or "*" in pattern:
            sources.append(Path(here))
        if not names and depth < MAX_DEPTH:
            waiting += [(path, depth + 1) for path in folders]
    return sorted(found, key=_by_number), sources


def _glance(folder: Path, pattern: str) -> Iterator[Path]:
    waiting = [(str(folder), 0)]
    for _ in range(FOLDERS_LOOKED_INTO):
        if not waiting:
            return
        here, depth = waiting.pop()
        if os.path.isfile(os.path.join(here, pattern)):
            yield Path(here, pattern)
            continue
        try:
            with os.scandir(here) as entries:
                for entry in islice(entries, LOOKED_AT):
                    if fnmatchcase(entry.name, pattern) and entry.is_file():
                        yield Path(entry.path)
                    elif depth < MAX_DEPTH and entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, depth + 1))
        except OSError:
            continue


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in re.split(r"(\d+)", name)]
