"""The seam between search methods and whatever they search over.

Shapes: B problems (episodes) at once, N candidates each, H steps, A numbers per step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Cost = Callable[[Tensor], Tensor]
"""Actions (B, N, H, A) to costs (B, N)."""


@dataclass(frozen=True)
class SearchSpace:
    """Where to search: a box, and a normal distribution to begin with."""

    low: Tensor  # (A,)
    high: Tensor  # (A,)
    mean: Tensor  # (B, H, A)
    std: Tensor  # (A,) or (B, H, A)


@dataclass(frozen=True)
class Found:
    """What a search returns. `curve` (iterations, B) is the best cost of each iteration."""

    actions: Tensor  # (B, H, A)
    cost: Tensor  # (B,)
    curve: Tensor


class Search(Protocol):
    """A search method. It never calls `cost` with actions outside the box, and never returns any."""

    @property
    def horizon(self) -> int: ...

    def minimise(self, cost: Cost, space: SearchSpace, generator: torch.Generator) -> Found: ...
