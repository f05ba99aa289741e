"""Arrays out of a pickle file without unpickling it.

A pickle is a program that may call anything. Here it is read as data: the few instructions that plain containers and NumPy's numeric
arrays are written with are followed on our own stack, and no function that the file names is ever looked up, let alone called.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamplan.errors import DataError

# A day of poses at 4 Hz is 8 MB. The other bounds keep a hostile file from costing more than seconds: what it may tell us to do
# is far less bounded than its size.
MAX_BYTES = 2**24
MAX_INSTRUCTIONS = 1_000_000
MAX_TEXT = 2**28
MAX_DIMENSIONS = 8
NUMERIC = re.compile(r"[<>|=]?([iu][1248]|f[248]|b1)")
# What NumPy's arrays name, under the package's old and new names.
NAMES = {
    **{(f"numpy.{core}.multiarray", name): name for core in ("core", "_core") for name in ("_reconstruct", "scalar")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "_frombuffer" for core in ("core", "_core")},
    ("numpy", "ndarray"): "ndarray", ("numpy", "dtype"): "dtype", ("_codecs", "encode"): "encode",
}


@dataclass(frozen=True)
class _Name:
    """A name that the file may use; only `_call` gives it a meaning."""

    name: str


@dataclass
class _Type:
    """A numeric dtype, whose byte order comes after it."""

    code: str


@dataclass
class _Array:
    """An array, whose values come after it."""

    values: np.ndarray | None = None


class _Mark:
    pass


def read_pickle(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Those of the named entries of a pickled dict that are numeric arrays or lists of numbers, as float64.

    Raises DataError for a file that is missing, damaged or larger than 16 MB, whose top is no dict, or that asks for any object
    but plain containers, numbers, text and numeric NumPy arrays.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is {path.stat().st_size >> 20} MB large; a trajectory's numbers take less than {MAX_BYTES >> 20} MB.")
        top = _follow(path.read_bytes())
        if not isinstance(top, dict):
            raise ValueError(f"it holds a {type(top).__name__.strip('_').lower()}, not a dict")
        arrays = {name: _numbers(top[name]) for name in names if name in top}
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        raise DataError(f"{path} is no pickled dict of arrays ({str(error)[:200]}); other objects are never unpickled here.") from None
    return {key: value for key, value in arrays.items() if value is not None}


def _follow(content: bytes) -> Any:
    """What the pickle's instructions leave on the stack."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    text_left = MAX_TEXT
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name = opcode.name
        if count > MAX_INSTRUCTIONS:
            raise ValueError(f"it has more than {MAX_INSTRUCTIONS} instructions")
        if name in ("PROTO", "FRAME"):
            pass
        elif name == "STOP":
            return stack[-1]
        elif name in LITERALS:
            stack.append(LITERALS[name](argument))
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in STEPS: dict[str, Callable[[list[Any]], None]] = {
    "POP": lambda stack: stack.__delitem__(-1),
    "DUP": lambda stack: stack.append(stack[-1]),
    "TUPLE1": lambda stack: stack.append(_last(stack, 1)),
    "TUPLE2": lambda stack: stack.append(_last(stack, 2)),
    "TUPLE3": lambda stack: stack.append(_last(stack, 3)),
    "TUPLE": lambda stack: stack.append(tuple(_since_mark(stack))),
    "LIST": lambda stack: stack.append(_since_mark(stack)),
    "DICT": _dict,
    "APPEND": lambda stack: _extend(stack, _last(stack, 1)),
    "APPENDS": lambda stack: _extend(stack, _since_mark(stack)),
    "SETITEM": lambda stack: _set_items(stack, _last(stack, 2)),
    "SETITEMS": lambda stack: _set_items(stack, _since_mark(stack)),
    "BUILD": _build,
}
