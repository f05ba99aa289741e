"""The seam between search methods and whatever they search over.

Shapes: B problems (episodes) at once, N candidates each, H steps, A numbers per step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lamplan.errors import InputError

Cost = Callable[[Tensor], Tensor]
"""Actions (B, N, H, A) to costs (B, N)."""


Enough = Callable[[], bool]
"""Asked after every iteration: whether the search must come to its end."""


@dataclass(frozen=True)
class SearchSpace:
    """Where to search: what is allowed, and a normal distribution to begin with.

    `inside` moves actions (B, N, H, A) to where they are allowed, and leaves alone those that are.
    """

    inside: Callable[[Tensor], Tensor]
    mean: Tensor  # (B, H, A)
    std: Tensor  # (A,) or (B, H, A)

    def plan_inside(self, actions: Tensor) -> Tensor:
        """The same for one plan (B, H, A) of each episode."""
        return self.inside(actions[:, None])[:, 0]


def box(low: Tensor, high: Tensor) -> Callable[[Tensor], Tensor]:
    """What is allowed where every step has the same limits (A,)."""
    return lambda actions: actions.clamp(low, high)


def never() -> bool:
    return False


@dataclass(frozen=True)
class Found:
    """What a search returns. `curve` (iterations, B) is the best cost of each iteration, infinite where none was finite."""

    actions: Tensor  # (B, H, A)
    cost: Tensor  # (B,)
    curve: Tensor


class Search(Protocol):
    """A search method. It never calls `cost` with actions that are not allowed, and never returns any. A candidate whose cost is not
    finite counts as the worst; where that is true of all candidates of an episode, InputError is raised. What it finds for one episode
    does not depend on which others are searched with it: all try the same noise. The first candidate of an iteration is the one that is
    the most likely to be good, should there be time for few; it ends early when `enough` says so, after one iteration at least."""

    @property
    def horizon(self) -> int: ...

    def minimise(self, cost: Cost, space: SearchSpace, generator: torch.Generator, enough: Enough = never) -> Found: ...


def beginning(space: SearchSpace) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, H, A) that a search begins with, the mean where it is allowed."""
    mean = space.plan_inside(space.mean)
    return mean, space.std.expand_as(mean)


def noise_like(mean: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Normal noise (B, count, H, A), the same for every episode of a mean (B, H, A)."""
    return torch.randn(1, count, *mean.shape[1:], generator=generator, device=mean.device).expand(len(mean), -1, -1, -1)


def draw(mean: Tensor, std: Tensor, space: SearchSpace, noise: Tensor) -> Tensor:
    """Candidates (B, N, H, A): the mean first, then the mean plus noise (B, N - 1, H, A) in units of std, all where they are allowed."""
    candidates = torch.cat([mean[:, None], mean[:, None] + noise * std[:, None]], dim=1)
    return space.inside(candidates)


def spreads_away(actions: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Mean square distance (B, N) of candidates (B, N, H, A) from a beginning (B, H, A) in units of its std; what is not searched, where
    that is zero, does not count."""
    unit = torch.where(std > 0, std, torch.inf)[:, None]
    return ((actions - mean[:, None]) / unit).square().mean((-1, -2))


def judged(cost: Cost, actions: Tensor) -> Tensor:
    """Costs (B, N) of actions (B, N, H, A); what is not finite becomes infinite."""
    return ranked(cost(actions))


def ranked(costs: Tensor) -> Tensor:
    """Costs (B, N) in which what is not finite is infinite."""
    return torch.where(torch.isfinite(costs), costs, torch.inf)


def found(actions: Tensor, cost: Tensor, curve: list[Tensor]) -> Found:
    """What a search returns. Raises InputError where an episode had no finite cost at all: looked at once, at the end, since an
    accelerator would wait at every look."""
    if not torch.isfinite(cost).all():
        raise InputError("the search found no finite plan: every candidate's cost is a NaN or an infinity. Look at the constraint, at the "
                         "goal's features, or at the model's weights.")
    return Found(actions, cost, torch.stack(curve))


def elite_moments(actions: Tensor, costs: Tensor, elites: int, before: tuple[Tensor, Tensor], unbiased: bool) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, H, A) of the best `elites` candidates, of those alone that have a finite cost; those of `before`
    where none has. The deviation is the `unbiased` estimate, or that of the elites themselves."""
    best = costs.topk(min(elites, costs.shape[1]), dim=1, largest=False)
    chosen = pick(actions, best.indices)
    finite = torch.isfinite(best.values).to(actions.dtype)[..., None, None]
    count = finite.sum(1)
    mean = (finite * chosen).sum(1) / count.clamp_min(1)
    variance = (finite * (chosen - mean[:, None]).square()).sum(1) / (count - int(unbiased)).clamp_min(1)
    return torch.where(count > 0, mean, before[0]), torch.where(count > 0, variance.sqrt(), before[1])


def pick(actions: Tensor, index: Tensor) -> Tensor:
    """The candidates (B, K, H, A) at the indices (B, K)."""
    return actions.gather(1, index[..., None, None].expand(-1, -1, *actions.shape[2:]))


def nothing_yet(mean: Tensor) -> tuple[Tensor, Tensor]:
    """An answer, actions (B, H, A) with their cost (B), to which any finite one is better."""
    return mean, mean.new_full(mean.shape[:1], torch.inf)


def best_of(actions: Tensor, costs: Tensor) -> tuple[Tensor, Tensor]:
    """The best candidate (B, H, A) of each episode and its cost (B)."""
    values, index = costs.min(dim=1)
    return pick(actions, index[:, None])[:, 0], values


def better_of(held: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Of two answers, actions (B, H, A) with their costs (B), for each episode the new one where it costs less."""
    better = new[1] < held[1]
    return torch.where(better[:, None, None], new[0], held[0]), torch.where(better, new[1], held[1])


def mean_or_best(cost: Cost, mean: Tensor, best: tuple[Tensor, Tensor], curve: list[Tensor]) -> Found:
    """The mean (B, H, A) as the answer; where it fell into a hole between good candidates, or there was no time to look, the `best` of
    them with its cost."""
    answer = cost(mean[:, None])[:, 0]
    finite = torch.isfinite(answer)
    return found(torch.where(finite[:, None, None], mean, best[0]), torch.where(finite, answer, best[1]), curve)
