"""What makes a training run what it is, fact by fact: a run folder takes no other (see `snapshots.settle`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lamplan.train.clips import Source

FREE = {"steps", "validation_batch", "parallel", "compile", "recompute", "encoder_name", "encoder_weights"}
"""What of a recipe may change while a run goes on: its length, how it is computed, and where weights lie, which count themselves."""


def run_facts(recipe: dict[str, Any], names: Sequence[str], stores: Sequence[Source], **others: str) -> dict[str, str]:
    """Every entry of the recipe but the FREE ones, the video of each folder in their order, and what else counts."""
    videos = {f"video {number}": f"{name}, {store.describe()} ({store.identity()})"
              for number, (name, store) in enumerate(zip(names, stores, strict=True), 1)}
    return flat({key: value for key, value in recipe.items() if key not in FREE}) | videos | others


def flat(entries: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """All entries of nested tables, as text by their path."""
    found: dict[str, str] = {}
    for key, value in entries.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": str(value)}
    return found


def distinct(names: Sequence[str]) -> list[str]:
    """The names, a number behind each that stood before."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}-{number}" for number in range(2, len(names) + 2))
        found.append(name if name not in found else next(other for other in numbered if other not in [*found, *names]))
    return found
