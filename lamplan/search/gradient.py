"""Search by gradient through the cost: from a few starts, or from where another search ended."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lamplan.errors import InputError
from lamplan.search.base import (
    Cost,
    Enough,
    Found,
    Search,
    SearchSpace,
    beginning,
    best_of,
    better_of,
    draw,
    found,
    judged,
    never,
    noise_like,
    nothing_yet,
    ranked,
    spreads_away,
)


@dataclass(frozen=True)
class Gradient:
    """Adam on `samples` candidates at once, each moved back to where it is allowed after every step; the best one ever seen is the answer.

    `rate` is Adam's, in units of the beginning's spread. With a `pull` the distance from the beginning counts as well: the mean square of
    it, in the same units, times `pull`. It keeps near what a good proposal already knows and the model does not. A term of the cost
    without a gradient (a wall, say) still decides which candidate wins.
    """

    samples: int = 8
    iterations: int = 20
    horizon: int = 3
    rate: float = 0.2
    pull: float = 0.0

    def __post_init__(self) -> None:
        if not (self.samples >= 1 and self.iterations >= 1 and self.horizon >= 1 and self.rate > 0 and self.pull >= 0):
            raise InputError("Gradient needs samples, iterations and horizon of at least 1, a positive rate and a pull of at least 0, "
                             f"found {self}.")

    def minimise(self, cost: Cost, space: SearchSpace, generator: torch.Generator, enough: Enough = never) -> Found:
        mean, std = beginning(space)
        candidates = draw(mean, std, space, noise_like(mean, self.samples - 1, generator))

        def pull(actions: Tensor) -> Tensor:
            return self.pull * spreads_away(actions, mean, std)

        return descend(cost, candidates, nothing_yet(mean), space, std, self.rate, self.iterations, enough, pull if self.pull else None)


@dataclass(frozen=True)
class Refined:
    """Another search, its answer then refined by gradient."""

    first: Search
    iterations: int = 5
    rate: float = 0.05

    @property
    def horizon(self) -> int:
        return self.first.horizon

    def minimise(self, cost: Cost, space: SearchSpace, generator: torch.Generator, enough: Enough = never) -> Found:
        before = self.first.minimise(cost, space, generator, enough)
        if enough():
            return before
        held, std = (before.actions, before.cost), space.std.expand_as(before.actions)
        refined = descend(cost, before.actions[:, None], held, space, std, self.rate, self.iterations, enough)
        return Found(refined.actions, refined.cost, torch.cat([before.curve, refined.curve]))


def descend(cost: Cost, candidates: Tensor, held: tuple[Tensor, Tensor], space: SearchSpace, std: Tensor, rate: float, iterations: int,
            enough: Enough, pull: Cost | None = None) -> Found:
    """Projected Adam from candidates (B, N, H, A), step sizes in units of std (B, H, A); the answer that is held already stands where none
    is better. A `pull` is minimised with the cost, but is no part of the costs that are found."""
    actions, unit = candidates, std[:, None]
    first, second = torch.zeros_like(actions), torch.zeros_like(actions)
    answer, curve = held, []

    def pulled(actions: Tensor) -> Tensor:
        return cost(actions) if pull is None else cost(actions) + pull(actions)

    def without_pull(found: tuple[Tensor, Tensor]) -> Tensor:
        return found[1] if pull is None else found[1] - pull(found[0][:, None])[:, 0]

    for step in range(1, iterations + 1):
        costs, slope = slope_of(pulled, actions)
        best = best_of(actions, ranked(costs))
        answer = better_of(answer, best)
        curve.append(without_pull(best))
        slope = torch.nan_to_num(slope * unit, nan=0.0, posinf=0.0, neginf=0.0)
        first, second = torch.lerp(slope, first, 0.9), torch.lerp(slope.square(), second, 0.99)
        change = (first / (1 - 0.9**step)) / ((second / (1 - 0.99**step)).sqrt() + 1e-8)
        actions = space.inside(actions - rate * unit * change)
        if enough():
            break
    answer = better_of(answer, best_of(actions, judged(pulled, actions)))
    return found(answer[0], without_pull(answer), curve)


def slope_of(cost: Cost, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Costs (B, N) of actions (B, N, H, A), and their gradient by these, of those that are finite."""
    with torch.enable_grad():
        tracked = actions.detach().requires_grad_()
        costs = cost(tracked)
        if not costs.requires_grad:
            raise InputError("the cost has no gradient: search with CEM, ICEM or MPPI instead.")
        slope, = torch.autograd.grad(torch.where(torch.isfinite(costs), costs, 0.0).sum(), tracked)
    return costs.detach(), slope
