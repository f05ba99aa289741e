"""What takes seconds the first time: code that is compiled, graphs that are captured. Who is in a hurry uses those that there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Flag, auto


class Prepared(Flag):
    """What may be made ready for the next time."""

    NOTHING = 0
    CODE = auto()
    GRAPHS = auto()
    EVERYTHING = CODE | GRAPHS


_allowed = ContextVar("allowed", default=Prepared.EVERYTHING)


def may_prepare(what: Prepared) -> bool:
    return what in _allowed.get()


@contextmanager
def only_preparing(what: Prepared) -> Iterator[None]:
    """While this lasts, in this thread, nothing else is made ready; what is not is done as it is written."""
    token = _allowed.set(what)
    try:
        yield
    finally:
        _allowed.reset(token)
