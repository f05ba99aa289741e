"""What the latent action model needs of a bottleneck, and statistics over all ranks of a distributed run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce


class Sampled(NamedTuple):
    """Latents (..., Z) to train the world model with, what they cost (added to its loss), and their capacity in nats per transition."""

    latents: Tensor
    penalty: Tensor
    nats: Tensor


class Bottleneck(nn.Module, ABC):
    """Turns the inverse dynamics model's output (..., parameters_dim) into a latent action (..., dim)."""

    dim: int
    whole_batch = False
    """Whether its price depends on a batch as a whole, and not on each latent by itself."""

    @property
    @abstractmethod
    def parameters_dim(self) -> int:
        """How many numbers it asks of the inverse dynamics model."""

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """The latent (..., Z) in use, without any noise."""

    @abstractmethod
    def sample(self, parameters: Tensor) -> Sampled:
        """The latent in training."""

    def after_step(self) -> None:  # most have nothing to do
        """To be called after every step of the optimiser, with torch's generator in the same state on all ranks."""


def summed_over_ranks(x: Tensor) -> Tensor:
    """The sum of x over all ranks, through which gradients flow; x itself in a run of one process."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return x
    return all_reduce(x.contiguous())  # type: ignore[no-any-return,no-untyped-call]


def gathered_over_ranks(x: Tensor) -> Tensor:
    """(ranks, ...): the x of every rank, all of one shape."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return x[None]
    every = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, x.contiguous())
    return torch.stack(every)


def moments(rows_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D) and covariance (D, D) of the rows of all ranks, divided by N."""
    count = summed_over_ranks(torch.tensor(float(len(rows_ND)), device=rows_ND.device))
    mean = summed_over_ranks(rows_ND.sum(0)) / count
    centred = rows_ND - mean
    return mean, summed_over_ranks(centred.T @ centred) / count
