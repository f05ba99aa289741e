"""MPPI: every candidate counts, by how good it is."""

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
    judged,
    mean_or_best,
    never,
    noise_like,
    nothing_yet,
)


@dataclass(frozen=True)
class MPPI:
    """Moves the mean to the average of all candidates weighted by exp(-cost / temperature), and the spread with it.

    The temperature is given as a share of the candidates' own spread of cost (its standard deviation over the best half, two at least),
    so that one setting fits any unit of cost. `floor`: the spread never falls below this share of the first one.
    """

    samples: int = 128
    iterations: int = 6
    horizon: int = 3
    temperature: float = 0.2
    floor: float = 0.02

    def __post_init__(self) -> None:
        if not (self.samples >= 2 and self.iterations >= 1 and self.horizon >= 1 and self.temperature > 0 and 0 <= self.floor <= 1):
            raise InputError(f"MPPI needs at least 2 samples, 1 iteration and 1 step, a positive temperature and a floor within 0..1, "
                             f"found {self}.")

    def minimise(self, cost: Cost, space: SearchSpace, generator: torch.Generator, enough: Enough = never) -> Found:
        mean, first = beginning(space)
        std = first
        answer, curve = nothing_yet(mean), []
        for _ in range(self.iterations):
            actions = draw(mean, std, space, noise_like(mean, self.samples - 1, generator))
            costs = judged(cost, actions)
            best = best_of(actions, costs)
            answer = better_of(answer, best)
            half = costs.topk(max(2, (self.samples + 1) // 2), dim=1, largest=False).values
            half = torch.where(torch.isfinite(half), half, best[1][:, None])
            scale = (self.temperature * half.std(dim=1, keepdim=True)).clamp_min(torch.finfo(costs.dtype).tiny)
            weight = torch.softmax(-(costs - best[1][:, None]) / scale, dim=1).to(actions.dtype)[..., None, None]
            some = torch.isfinite(best[1])[:, None, None]  # else nothing is learned
            mean = torch.where(some, space.plan_inside((weight * actions).sum(1)), mean)  # an average may round out of the limits
            spread = (weight * (actions - mean[:, None]).square()).sum(1).sqrt()
            std = torch.where(some, torch.maximum(spread, self.floor * first), std)
            curve.append(best[1])
            if enough():
                break
        return mean_or_best(cost, mean, answer, curve)
