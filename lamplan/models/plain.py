"""Work done plainly: without kernels or graphs into which nobody can look, so that its operations can be counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_plain = ContextVar("plain", default=False)


def is_plain() -> bool:
    return _plain.get()


@contextmanager
def plainly() -> Iterator[None]:
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)
