"""The cross-entropy method, as the paper, JEPA-WMs and V-JEPA 2-AC plan with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lamplan.errors import InputError
from lamplan.search.base import (
    Cost,
    Enough,
    Found,
    SearchSpace,
    beginning,
    best_of,
    better_of,
    draw,
    elite_moments,
    judged,
    mean_or_best,
    never,
    noise_like,
    nothing_yet,
)


@dataclass(frozen=True)
class CEM:
    """Samples from a normal distribution, keeps the best, fits the distribution to them, and again.

    The defaults are those of the DROID protocol (paper section 6.1): candidates are clipped to the box, candidate 0 is the
    present mean, there is no momentum, and the answer is the mean of the last elites. `momentum_mean` and `momentum_std` are
    the share of the old distribution that is kept at each iteration. The spread is the elites' unbiased deviation, as in the released
    code of V-JEPA 2 and JEPA-WMs.
    """

    samples: int = 300
    iterations: int = 15
    elites: int = 10
    horizon: int = 3
    momentum_mean: float = 0.0
    momentum_std: float = 0.0

    def __post_init__(self) -> None:
        if not (self.iterations >= 1 and self.horizon >= 1 and 1 <= self.elites <= self.samples):
            raise InputError(f"CEM needs iterations and horizon of at least 1 and 1 <= elites <= samples, found {self}.")
        if not (0 <= self.momentum_mean < 1 and 0 <= self.momentum_std < 1):
            raise InputError(f"CEM needs momenta of at least 0 and below 1, found {self}.")

    def minimise(self, cost: Cost, space: SearchSpace, generator: torch.Generator, enough: Enough = never) -> Found:
        mean, std = beginning(space)
        answer, curve = nothing_yet(mean), []
        for _ in range(self.iterations):
            actions = draw(mean, std, space, noise_like(mean, self.samples, generator)[:, 1:])
            costs = judged(cost, actions)
            best = best_of(actions, costs)
            answer = better_of(answer, best)
            new_mean, new_std = elite_moments(actions, costs, self.elites, (mean, std), unbiased=True)
            mean = space.plan_inside(torch.lerp(new_mean, mean, self.momentum_mean))  # an average may round out of the limits
            std = torch.lerp(new_std, std, self.momentum_std)
            curve.append(best[1])
            if enough():
                break
        return mean_or_best(cost, mean, answer, curve)
