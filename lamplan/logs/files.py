"""The files of a data set's folder: JSON of sane size, and paths that its metadata name and that must not lead out of it."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from lamplan.errors import DataError

# The longest JSON of a real set (features, or one line per episode) has a few megabytes per hundred thousand episodes.
MAX_JSON_BYTES = 512 * 2**20
MAX_TEMPLATE = 500
FIELD = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; DataError when it is missing, damaged or no object."""
    return parse_object(_text(path), str(path))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects in a file with one JSON object per line; empty lines are passed over."""
    lines = enumerate(_text(path).splitlines(), start=1)
    return [parse_object(line, f"{path}, line {number}") for number, line in lines if line.strip()]


def parse_object(text: str, where: str) -> dict[str, Any]:
    """A JSON object, or a DataError that says where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON ({error}); it is damaged or unfinished.") from None
    if not isinstance(value, dict):
        raise DataError(f"{where} must hold a JSON object, found {type(value).__name__}.")
    return value


def fill(template: str, values: dict[str, str | int], where: str) -> str:
    """A path template such as `data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet` with its fields filled in.

    Only the named fields are known, as they stand or with leading zeros: `str.format` would follow attributes as well.
    """
    if len(template) > MAX_TEMPLATE:
        raise DataError(f"{where}: the path '{template[:80]}...' has {len(template)} characters; it is damaged.")

    def put(match: re.Match[str]) -> str:
        name, width = match.groups()
        if name not in values:
            raise DataError(f"{where}: the path '{template}' has the unknown field '{name}'; known are {', '.join(values)}.")
        return str(values[name]).zfill(int(width)) if width else str(values[name])

    filled = FIELD.sub(put, template)
    if "{" in filled or "}" in filled:
        raise DataError(f"{where}: the path '{template}' cannot be filled in; expected fields such as {{file_index:03d}}.")
    return filled


def member(root: Path, name: str, where: str) -> Path:
    """The file `name` of a data set's folder. DataError when it is missing or lies outside.

    The cache of the Hugging Face hub links each file of `snapshots/REVISION` to `blobs`: that much is allowed.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise DataError(f"{where}: '{name}' must be a path inside {root}.")
    path = root / name
    try:
        home, real = root.resolve(), path.resolve()
        exists = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{where}: {path} cannot be opened ({error}).") from None
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if not (real.is_relative_to(home) or real.is_relative_to(blobs)):
        raise DataError(f"{where}: '{name}' is a link that leads out of {root}; copy the file into the data set.")
    if not exists:
        raise DataError(f"{where}: {path} is missing; the data set is incomplete (fetch it again, with its large files).")
    return path


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path} has {path.stat().st_size} bytes, far more than such a file can need; it is damaged.")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path} is missing; the data set is incomplete.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}).") from None
