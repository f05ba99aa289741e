"""Logs of very many episodes: each is opened when it is asked for, and the list of them is kept between runs."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from lamplan.files import whole_file
from lamplan.logs.episode import Episode

Entry = TypeVar("Entry")
# Clocks of file systems are coarse: a folder that changed just before it was listed may change again under the same time stamp.
SETTLED_NS = 2_000_000_000


class Episodes(Sequence[Episode], Generic[Entry]):
    """Episodes by their entries in a list, opened by `opens` at every access and not kept."""

    def __init__(self, entries: Sequence[Entry], opens: Callable[[Entry], Episode]) -> None:
        self._entries, self._opens = entries, opens

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> Episodes[Entry]: ...
    def __getitem__(self, index: int | slice) -> Episode | Episodes[Entry]:
        if isinstance(index, slice):
            return Episodes(self._entries[index], self._opens)
        return self._opens(self._entries[index])


def remembered(path: Path, form: str, build: Callable[[], tuple[list[Any], Iterable[Path]]]) -> list[Any]:
    """The list that `build` makes of a log at `path`, from the user's cache where it is still true.

    form:  name of the format, so that two readers keep two lists; change it when the entries change their meaning.
    build: gives the entries, plain JSON values, and the files and folders they were gathered from. The list is made anew when
           one of those has another modification time. Nothing is written beside the log.
    """
    key = hashlib.sha256(f"{form}\0{path.absolute()}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    kept = cache_folder() / f"{key}.json"
    try:
        table = json.loads(kept.read_text(encoding="utf-8"))
        if all(os.stat(name).st_mtime_ns == changed for name, changed in table["sources"].items()):
            return list(table["entries"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    began = time.time_ns()
    entries, paths = build()
    try:
        sources = {str(source.absolute()): source.stat().st_mtime_ns for source in paths}
        if all(changed < began - SETTLED_NS for changed in sources.values()):
            with whole_file(kept) as unfinished:
                unfinished.write_text(json.dumps({"log": str(path.absolute()), "sources": sources, "entries": entries}), encoding="utf-8")
    except (OSError, ValueError):
        pass  # A cache that cannot be written costs time and nothing else.
    return entries


def cache_folder() -> Path:
    """Where lists of episodes are kept: `$XDG_CACHE_HOME/lamplan/logs`, by default under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lamplan" / "logs"
