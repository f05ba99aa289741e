"""A note beside what a long work keeps, of what that is: another work does not go on from it."""

from __future__ import annotations

import json
from pathlib import Path

from lamplan.errors import InputError
from lamplan.files import whole_file


def settle_note(note: Path, wanted: dict[str, str], begun: bool, what: str, where: str) -> None:
    """Writes the facts of a work, each by its name, into `note` (JSON). How long the work is to be is none of them.

    InputError where `what` is kept already (`begun`) and was noted to be of something else, or was not noted: it would be gone on from.
    `where` it lies is told to be deleted.
    """
    try:
        read = json.loads(note.read_text(encoding="utf-8"))
        found = read if isinstance(read, dict) else {}
    except (FileNotFoundError, ValueError):
        found = {}
    if found != wanted and begun:
        differs = [f"{name}: {found.get(name, 'none')}, now {wanted.get(name, 'none')}" for name in found | wanted
                   if found.get(name) != wanted.get(name)] if found else ["an older one, which was not noted"]
        raise InputError(f"{what} of another run ({'; '.join(differs)}): give another --out, or delete that {where} to begin anew.")
    with whole_file(note) as unfinished:
        unfinished.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
