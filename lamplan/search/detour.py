"""Where a search begins when the motion that was proposed is not wanted: beside it."""

from __future__ import annotations

from dataclasses import replace

import torch

from lamplan.search.base import Cost, SearchSpace, beginning, best_of, draw, judged, noise_like, spreads_away

TRIED = 512
FAR = 3.0
"""Motions are tried within a normal distribution so many times as wide as the beginning's."""
NEAR = 0.03
"""What a mean square distance of one spread from the beginning may cost: a wall outweighs it, a slight preference does not."""


def detour(wish: Cost, space: SearchSpace, generator: torch.Generator) -> SearchSpace:
    """The same space, its beginning moved to where `wish`, a cost of actions alone, is low; of places alike the nearest.

    A search by gradient from one start cannot leave a place that costs the same all around, such as the inside of a wall. No model is
    asked here, so that hundreds of motions cost next to nothing.
    """
    mean, std = beginning(space)
    tried = draw(mean, std, space, FAR * noise_like(mean, TRIED - 1, generator))
    return replace(space, mean=best_of(tried, judged(wish, tried) + NEAR * spreads_away(tried, mean, std))[0])
