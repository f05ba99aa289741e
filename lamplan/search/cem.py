"""The cross-entropy method, as JEPA-WMs and the paper plan with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lamplan.errors import InputError
from lamplan.search.base import Cost, Found, SearchSpace


@dataclass(frozen=True)
class CEM:
    """Samples from a normal distribution, keeps the best, fits the distribution to them, and again.

    The defaults are those of the DROID protocol (paper section 6.1): candidates are clipped to the box, candidate 0 is the
    present mean, there is no momentum, and the answer is the mean of the last elites.
    """

    samples: int = 300
    iterations: int = 15
    elites: int = 10
    horizon: int = 3

    def __post_init__(self) -> None:
        if not (self.iterations >= 1 and self.horizon >= 1 and 1 <= self.elites <= self.samples):
            raise InputError(f"CEM needs iterations and horizon of at least 1 and 1 <= elites <= samples, found {self}.")

    def minimise(self, cost: Cost, space: SearchSpace, generator: torch.Generator) -> Found:
        mean = space.mean.clamp(space.low, space.high)
        std = space.std.expand_as(mean)
        curve = []
        for _ in range(self.iterations):
            noise = torch.randn(len(mean), self.samples, *mean.shape[1:], generator=generator, device=mean.device)
            noise[:, 0] = 0
            actions = (mean[:, None] + noise * std[:, None]).clamp(space.low, space.high)
            costs = cost(actions)
            best = costs.topk(self.elites, dim=1, largest=False)
            elites = actions.gather(1, best.indices[..., None, None].expand(-1, -1, *mean.shape[1:]))
            mean = elites.mean(1)
            std = elites.std(1, unbiased=False)
            curve.append(best.values[:, 0])
        return Found(mean, cost(mean[:, None])[:, 0], torch.stack(curve))
