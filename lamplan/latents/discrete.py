"""The discrete bottleneck: a latent is a few words of a learned vocabulary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamplan.latents.base import Bottleneck, Sampled, gathered_over_ranks, summed_over_ranks


@dataclass(frozen=True)
class DiscreteConfig:
    dim: int = 128
    codebook: int = 16  # the paper tries 16, 1024, 4096 and 32768
    codes: int = 4  # words per latent, as in UniVLA; the paper does not say
    commitment: float = 0.25
    reset_after: int = 2_500_000  # latents seen between resets of words that nobody used


class DiscreteBottleneck(Bottleneck):
    """Vector quantisation (paper section 3, "discrete"): each of `codes` parts of the latent becomes the nearest word.

    Gradients pass straight through; the words follow what they stand for (squared distance), and the inverse dynamics model
    is held to them by `commitment`. Words that were not used since the last reset move,
    between two steps of the optimiser, to latents drawn from the batch of all ranks. The
    capacity is the entropy of the words in the batch times their number: at most `codes` ln(codebook).
    """

    words: Tensor
    used: Tensor
    seen: Tensor

    def __init__(self, config: DiscreteConfig) -> None:
        super().__init__()
        if config.dim % config.codes:
            raise ValueError(f"dim {config.dim} must be a multiple of codes {config.codes}.")
        self.dim, self.config = config.dim, config
        width = config.dim // config.codes
        self.words = nn.Parameter(torch.randn(config.codebook, width) / width**0.5)
        self.register_buffer("used", torch.zeros(config.codebook))
        self.register_buffer("seen", torch.zeros(()))
        self._batch: list[Tensor] = []  # the parts of the present batch

    @property
    def parameters_dim(self) -> int:
        return self.dim

    def indices(self, parameters: Tensor) -> Tensor:
        """The words (..., codes) nearest to the parts of the parameters (..., dim)."""
        parts = parameters.unflatten(-1, (self.config.codes, -1)).float()
        words = self.words.float()
        # |x - w|² without |x|², which all words share
        return (words.square().sum(-1) - 2 * parts @ words.T).argmin(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        return self.words[self.indices(parameters)].flatten(-2)

    def sample(self, parameters: Tensor) -> Sampled:
        index = self.indices(parameters)
        quantised = self.words[index].flatten(-2)
        penalty = F.mse_loss(quantised, parameters.detach()) + self.config.commitment * F.mse_loss(parameters, quantised.detach())
        latents = parameters + (quantised - parameters).detach()
        with torch.no_grad():
            counts = summed_over_ranks(torch.bincount(index.flatten(), minlength=self.config.codebook).to(self.used))
            share = counts / counts.sum()
            nats = -self.config.codes * (share * share.clamp_min(1e-12).log()).sum()
        if self.training and torch.is_grad_enabled():
            self.used += counts
            self.seen += counts.sum() / self.config.codes
            self._batch.append(parameters.detach())
        return Sampled(latents, penalty, nats)

    @torch.no_grad()
    def after_step(self) -> None:
        batch, self._batch = self._batch, []
        if not batch or self.seen < self.config.reset_after:
            return
        unused = (self.used == 0).nonzero()[:, 0]
        if len(unused):
            # Part k of rank r is number k · ranks + r of the whole batch: in that order every world draws the same words.
            whole = gathered_over_ranks(torch.stack(batch)).transpose(0, 1)
            places = whole.reshape(-1, self.words.shape[1]).to(self.words.dtype)
            order = torch.randperm(len(places), device=places.device)
            self.words[unused] = places[order[torch.arange(len(unused), device=order.device) % len(order)]]
        self.used.zero_()
        self.seen.zero_()

    @property
    def most_nats(self) -> float:
        """The capacity that no latent of this vocabulary exceeds."""
        return self.config.codes * math.log(self.config.codebook)
