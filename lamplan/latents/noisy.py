"""The noisy bottleneck: a Gaussian latent that pays for what it tells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lamplan.latents.base import Bottleneck, Sampled


@dataclass(frozen=True)
class NoisyConfig:
    dim: int = 32
    weight: float = 1e-5  # of the KL in nats, summed over the latent; the paper sweeps 5e-3 to 1e-6


class NoisyBottleneck(Bottleneck):
    """Gaussian latent with a KL penalty to N(0, 1) (paper section 3, "noisy").

    The paper does not say whether the KL term is summed or averaged over the latent's dimensions; it is summed here, in
    nats, and averaged over transitions, so that it is also the latent's capacity. In use the mean is taken.
    """

    def __init__(self, config: NoisyConfig) -> None:
        super().__init__()
        self.dim, self.weight = config.dim, config.weight

    @property
    def parameters_dim(self) -> int:
        return 2 * self.dim

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[..., : self.dim]

    def sample(self, parameters: Tensor) -> Sampled:
        mean, log_variance = parameters.chunk(2, dim=-1)
        log_variance = log_variance.clamp(-10.0, 5.0)
        # In fp32: the terms of a latent that tells little cancel, and in bf16 leave nothing but rounding.
        mean_square, wide = mean.float().square(), log_variance.float()
        nats = 0.5 * (mean_square + wide.exp() - 1 - wide).sum(-1).mean()
        return Sampled(mean + torch.randn_like(mean) * (0.5 * log_variance).exp(), self.weight * nats, nats)
