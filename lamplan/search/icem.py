"""iCEM (Pinneri et al. 2020): CEM with noise that hangs together over time, fewer samples each iteration, and a memory of elites."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lamplan.errors import InputError
from lamplan.search.base import (
    Cost,
    Enough,
    Found,
    SearchSpace,
    beginning,
    best_of,
    better_of,
    elite_moments,
    found,
    judged,
    never,
    nothing_yet,
    pick,
)


@dataclass(frozen=True)
class ICEM:
    """`colour`: exponent of the noise's power spectrum over the horizon, 0 white; `decay`: samples shrink by it each iteration;
    `kept`: share of the elites that compete again. The answer is the best candidate ever seen, the mean among them. Two things are not as
    published: the noise's constant part is of half the slowest frequency (there of that itself, which makes noise over two steps white),
    and no elite is carried over to the next plan (`warm_start` carries the mean)."""

    samples: int = 128
    iterations: int = 6
    elites: int = 10
    horizon: int = 3
    colour: float = 2.0
    decay: float = 1.25
    kept: float = 0.3
    momentum: float = 0.1

    def __post_init__(self) -> None:
        if not (self.iterations >= 1 and self.horizon >= 1 and 1 <= self.elites <= self.samples):
            raise InputError(f"ICEM needs iterations and horizon of at least 1 and 1 <= elites <= samples, found {self}.")
        if not (self.colour >= 0 and self.decay >= 1 and 0 <= self.kept <= 1 and 0 <= self.momentum < 1):
            raise InputError(f"ICEM needs colour >= 0, decay >= 1, kept within 0..1 and momentum within 0..1 (1 excluded), found {self}.")

    def minimise(self, cost: Cost, space: SearchSpace, generator: torch.Generator, enough: Enough = never) -> Found:
        mean, std = beginning(space)
        kept = mean[:, None][:, :0]
        answer, curve = nothing_yet(mean), []
        for iteration in range(self.iterations):
            count = max(2 * self.elites, int(self.samples / self.decay**iteration))
            noise = coloured_noise(count, self.horizon, mean.shape[2], self.colour, generator, mean.device)
            fresh = space.inside(mean[:, None] + noise * std[:, None])
            actions = torch.cat([mean[:, None], kept, fresh], dim=1)
            costs = judged(cost, actions)
            best = best_of(actions, costs)
            answer = better_of(answer, best)
            new_mean, new_std = elite_moments(actions, costs, self.elites, (mean, std), unbiased=False)
            mean = space.plan_inside(torch.lerp(new_mean, mean, self.momentum))
            std = torch.lerp(new_std, std, self.momentum)
            again = costs.topk(round(self.kept * self.elites), dim=1, largest=False).indices
            kept = pick(actions, again)
            curve.append(best[1])
            if enough():
                break
        return found(*answer, curve)


def coloured_noise(samples: int, horizon: int, width: int, colour: float, generator: torch.Generator,
                   device: torch.device | str = "cpu") -> Tensor:
    """Noise (N, H, A) of unit variance whose power over the horizon falls with frequency to the power of `colour`."""
    white = torch.randn(samples, width, horizon, generator=generator, device=device)
    if colour == 0 or horizon == 1:
        return white.transpose(1, 2)
    frequency = torch.fft.rfftfreq(horizon, device=device)
    frequency[0] = 0.5 / horizon  # the constant part counts as a wave twice as slow as the slowest
    scale = frequency ** (-colour / 2)
    # Each frequency but the constant (and, of an even horizon, the fastest) stands for two terms of the whole spectrum.
    terms = torch.full_like(scale, 2.0)
    terms[0] = 1.0
    if horizon % 2 == 0:
        terms[-1] = 1.0
    scale = scale * (horizon / (terms * scale.square()).sum()).sqrt()
    return torch.fft.irfft(torch.fft.rfft(white) * scale, n=horizon).transpose(1, 2)
