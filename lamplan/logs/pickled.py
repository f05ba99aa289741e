"""Arrays out of a pickle file without unpickling it.

A pickle is a program that may call anything. Here it is read as data: the few instructions that plain containers and NumPy's numeric
arrays are written with are followed on our own stack, and no function that the file names is ever looked up, let alone called.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamplan.errors import DataError

# A day of poses at 4 Hz is 8 MB. The other bounds keep a hostile file from costing more than seconds: what it may tell us to do
# is far less bounded than its size.
MAX_BYTES = 2**24
MAX_INSTRUCTIONS = 500_000
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
    with _sentences(path, "dict of arrays"):
        top = _top(path)
        if not isinstance(top, dict):
            raise ValueError(f"it holds a {type(top).__name__.strip('_').lower()}, not a dict")
        arrays = {name: _numbers(top[name]) for name in names if name in top}
        return {name: values for name, values in arrays.items() if values is not None}


def read_rows(path: Path) -> list[tuple[str | float, ...]]:
    """The rows of a pickled list of tuples of text and numbers, as indices of data sets are kept. Raises DataError as `read_pickle`."""
    with _sentences(path, "list of rows of text and numbers"):
        top = _top(path)
        if not isinstance(top, list) or not all(isinstance(row, list | tuple) for row in top):
            raise ValueError(f"it holds a {type(top).__name__.strip('_').lower()}, not a list of rows")
        if not all(type(item) in (str, int, float) for row in top for item in row):
            raise ValueError("it has a row that holds other things")
        return [tuple(row) for row in top]


@contextmanager
def _sentences(path: Path, what: str) -> Iterator[None]:
    """Whatever is found wrong with a pickle becomes a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        raise DataError(f"{path} is no pickled {what} ({str(error)[:200]}); other objects are never unpickled here.") from None


def _top(path: Path) -> Any:
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is {path.stat().st_size >> 20} MB large; a trajectory's numbers take less than {MAX_BYTES >> 20} MB.")
    return _follow(path.read_bytes())


def _follow(content: bytes) -> Any:
    """What the pickle's instructions leave on the stack."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    text_left = MAX_TEXT
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name = opcode.name
        if count > MAX_INSTRUCTIONS:
            raise ValueError(f"it has more than {MAX_INSTRUCTIONS} instructions")
        if name == "STOP":
            return stack[-1]
        if name in LITERALS:
            stack.append(argument)
        elif name in FRESH:
            stack.append(FRESH[name]())
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(_known(str(argument).split(" ", 1) if name == "GLOBAL" else _last(stack, 2)))
        elif name in STEPS:
            STEPS[name](stack)
            # A step may copy a long text, and be taken again and again.
            text_left -= len(stack[-1]) if name == "REDUCE" and isinstance(stack[-1], bytes) else 0
            if text_left < 0:
                raise ValueError("it copies too much text")
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"it uses the instruction {name}")
    raise ValueError("it has no end")


def _known(pair: Sequence[Any]) -> _Name:
    if not all(isinstance(part, str) for part in pair):
        raise ValueError("it names an object by what is no text")
    if tuple(pair) not in NAMES:
        raise ValueError(f"it asks for the object {'.'.join(pair)[:100]}")
    return _Name(NAMES[tuple(pair)])


def _last(stack: list[Any], count: int) -> tuple[Any, ...]:
    """Takes the last `count` values off the stack."""
    if len(stack) < count:
        raise ValueError("its stack is empty")
    taken = tuple(stack[len(stack) - count :])
    del stack[len(stack) - count :]
    return taken


def _since_mark(stack: list[Any]) -> list[Any]:
    """Takes the last mark and all values above it off the stack."""
    for start in range(len(stack) - 1, -1, -1):
        if isinstance(stack[start], _Mark):
            values = stack[start + 1 :]
            del stack[start:]
            return values
    raise ValueError("its stack has no mark")


def _extend(stack: list[Any], values: Sequence[Any]) -> None:
    if not stack or type(stack[-1]) is not list:
        raise ValueError("it fills what is no list")
    stack[-1].extend(values)


def _set_items(stack: list[Any], pairs: Sequence[Any]) -> None:
    if not stack or type(stack[-1]) is not dict:
        raise ValueError("it fills what is no dict")
    # Hashing a tuple of tuples of tuples, a million deep, would end the interpreter.
    if not all(isinstance(key, str | int | float | bytes | None) for key in pairs[::2]):
        raise ValueError("it has a dict whose keys are neither text nor numbers")
    stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))


def _dict(stack: list[Any]) -> None:
    pairs = _since_mark(stack)
    stack.append({})
    _set_items(stack, pairs)


def _reduce(stack: list[Any]) -> None:
    called, given = _last(stack, 2)
    if not isinstance(called, _Name) or not isinstance(given, tuple):
        raise ValueError("it calls what is no function")
    stack.append(_call(called.name, given))


def _call(name: str, given: tuple[Any, ...]) -> Any:
    """What the function of this name would give, for those that arrays are written with."""
    if name == "encode":
        # Old pickles write bytes as text.
        text, code = given
        if not isinstance(text, str) or code != "latin1":
            raise ValueError("it encodes what is no text")
        return text.encode("latin1")
    if name == "_reconstruct":
        return _Array()
    if name == "dtype":
        if not isinstance(given[0], str) or not NUMERIC.fullmatch(given[0]):
            raise ValueError("it holds an array of what are no numbers")
        return _Type(given[0])
    if name == "scalar":
        return float(_array(given[0], (), given[1], "C").astype(np.float64))
    if name == "_frombuffer":
        content, kind, shape, order = given
        return _Array(_array(kind, shape, content, order))
    raise ValueError(f"it calls {name}")


def _build(stack: list[Any]) -> None:
    """Gives an array its values or a dtype its byte order, as their `__setstate__` would."""
    built, state = _last(stack, 2)
    if isinstance(built, _Array) and isinstance(state, tuple) and len(state) == 5:
        _, shape, kind, fortran, content = state
        built.values = _array(kind, shape, content, "F" if fortran else "C")
    elif isinstance(built, _Type) and isinstance(state, tuple) and len(state) >= 2 and state[1] in ("<", ">", "|", "="):
        built.code = state[1] + built.code.lstrip("<>|=")
    else:
        raise ValueError("it gives a state to what is no array")
    stack.append(built)


def _array(kind: Any, shape: Any, content: Any, order: Any) -> np.ndarray:
    if not isinstance(kind, _Type) or not isinstance(content, bytes | bytearray) or order not in ("C", "F"):
        raise ValueError("it holds an array that is not made of numbers")
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("it holds an array of an impossible shape")
    dtype = np.dtype(kind.code)
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"it holds an array of shape {str(shape)[:60]} with {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def _numbers(value: Any) -> np.ndarray | None:
    """An array, or a flat list of numbers or of equally long rows of them, as float64; None for anything else."""
    if isinstance(value, _Array):
        with np.errstate(invalid="ignore"):  # A damaged NaN may be a signalling one.
            return None if value.values is None else value.values.astype(np.float64)
    if not isinstance(value, list):
        return None
    rows = [row.values.tolist() if isinstance(row, _Array) and row.values is not None and row.values.ndim == 1 and len(row.values) < 8
            else row for row in value]
    if not rows or not isinstance(rows[0], list | tuple):
        return _flat(rows)
    width = len(rows[0])
    if len(rows) * width > MAX_BYTES or not all(isinstance(row, list | tuple) and len(row) == width for row in rows):
        return None
    values = _flat([item for row in rows for item in row])
    return None if values is None else values.reshape(len(rows), width)


def _flat(items: list[Any]) -> np.ndarray | None:
    return np.array(items, dtype=np.float64) if all(type(item) in (int, float, bool) for item in items) else None


LITERALS = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
))
FRESH: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "MARK": _Mark,
}
STEPS: dict[str, Callable[[list[Any]], None]] = {
    "POP": lambda stack: stack.__delitem__(-1),
    "DUP": lambda stack: stack.append(stack[-1]),
    "TUPLE1": lambda stack: stack.append(_last(stack, 1)),
    "TUPLE2": lambda stack: stack.append(_last(stack, 2)),
    "TUPLE3": lambda stack: stack.append(_last(stack, 3)),
    "TUPLE": lambda stack: stack.append(tuple(_since_mark(stack))),
    "LIST": lambda stack: stack.append(_since_mark(stack)),
    "DICT": _dict,
    # What is taken off the stack lies above the list or dict that it goes into.
    "APPEND": lambda stack: _extend(stack, _last(stack, 1)),
    "APPENDS": lambda stack: _extend(stack, _since_mark(stack)),
    "SETITEM": lambda stack: _set_items(stack, _last(stack, 2)),
    "SETITEMS": lambda stack: _set_items(stack, _since_mark(stack)),
    "REDUCE": _reduce,
    "BUILD": _build,
}
