"""argparse types: the numbers that options take, so that one that means nothing is refused before any work."""

from __future__ import annotations

import argparse
import math

LARGEST_SEED = 2**32 - 1  # what both NumPy and torch take, whatever is made of it


def count(text: str) -> int:
    """1, 2, 3, ..."""
    return _whole(text, 1, None)


def seed(text: str) -> int:
    """0, 1, 2, ... LARGEST_SEED."""
    return _whole(text, 0, LARGEST_SEED)


def positive(text: str) -> float:
    """A finite number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number")
    return value


def _whole(text: str, least: int, most: int | None) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number {bounds}")
    return value
