"""MPPI: every candidate counts, by how good it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lamplan.errors import InputError
from lamplan.search.base import Cost, Enough, Found, SearchSpace, beginning, best_of, draw, judged, mean_or_best, never


@dataclass(frozen=True)
class MPPI:
    """Moves the mean to the average of all candidates weighted by exp(-cost / temperature), and the spread with it.

    The temperature is given as a share of the candidates' own spread of cost (its standard deviation over the best half), so that one
    setting fits any unit of cost. `floor`: the spread never falls below this share of the first one.
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
        curve = []
        for _ in range(self.iterations):
            noise = torch.randn(len(mean), self.samples - 1, *mean.shape[1:], generator=generator, device=mean.device)
            actions = draw(mean, std, space, noise)
            costs = judged(cost, actions)
            best, best_cost = best_of(actions, costs)
            half = costs.topk((self.samples + 1) // 2, dim=1, largest=False).values
            half = torch.where(torch.isfinite(half), half, best_cost[:, None])
            scale = (self.temperature * half.std(dim=1, keepdim=True)).clamp_min(torch.finfo(costs.dtype).tiny)
            weight = torch.softmax(-(costs - best_cost[:, None]) / scale, dim=1).nan_to_num(0.0)[..., None, None]
            mean = space.plan_inside((weight * actions).sum(1))  # an average may round out of the limits
            std = torch.maximum((weight * (actions - mean[:, None]).square()).sum(1).sqrt(), self.floor * first)
            curve.append(best_cost)
            if enough():
                break
        return mean_or_best(cost, mean, best, best_cost, curve)
