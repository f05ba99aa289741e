"""Bottlenecks: what keeps a latent action from copying the future.

A bottleneck turns the inverse dynamics model's output into a latent and says what that latent costs. It has
`parameters_dim` (how many numbers it asks of the inverse dynamics model), `sample` for training, `mean` for use.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NoisyBottleneck(nn.Module):
    """Gaussian latent with a KL penalty to N(0, 1) (paper section 3, "noisy").

    The paper does not say whether the KL term is summed or averaged over the latent's dimensions; it is summed here, in
    nats, and averaged over transitions, so that it is also the latent's capacity. In use the mean is taken.
    """

    def __init__(self, dim: int, weight: float) -> None:
        super().__init__()
        self.dim = dim
        self.weight = weight

    @property
    def parameters_dim(self) -> int:
        return 2 * self.dim

    def mean(self, parameters: Tensor) -> Tensor:
        """Latent (..., Z) without noise."""
        return parameters[..., : self.dim]

    def sample(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy latents (..., Z) and their capacity: the mean KL in nats per transition."""
        mean, log_variance = parameters.chunk(2, dim=-1)
        log_variance = log_variance.clamp(-10.0, 5.0)
        nats = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1).mean()
        return mean + torch.randn_like(mean) * (0.5 * log_variance).exp(), nats
