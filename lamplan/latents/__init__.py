"""Bottlenecks: what keeps a latent action from copying the future (paper section 3). One protocol, three kinds."""

from __future__ import annotations

from typing import Any

from lamplan.errors import InputError
from lamplan.latents.base import Bottleneck, Sampled
from lamplan.latents.discrete import DiscreteBottleneck, DiscreteConfig
from lamplan.latents.noisy import NoisyBottleneck, NoisyConfig
from lamplan.latents.sparse import SparseBottleneck, SparseConfig

BottleneckConfig = NoisyConfig | SparseConfig | DiscreteConfig
KINDS: dict[str, Any] = {"noisy": NoisyConfig, "sparse": SparseConfig, "discrete": DiscreteConfig}


def new_bottleneck(config: BottleneckConfig) -> Bottleneck:
    """The bottleneck that a configuration describes."""
    if isinstance(config, NoisyConfig):
        return NoisyBottleneck(config)
    return SparseBottleneck(config) if isinstance(config, SparseConfig) else DiscreteBottleneck(config)


def config_class(kind: Any, where: str) -> Any:
    """The configuration class of a kind of bottleneck by name."""
    if kind not in list(KINDS):  # a file may say anything, what cannot be a key as well
        raise InputError(f"{where}: bottleneck kind '{kind}' is not known; choose from {', '.join(KINDS)}.")
    return KINDS[kind]


__all__ = ["KINDS", "Bottleneck", "BottleneckConfig", "DiscreteBottleneck", "DiscreteConfig", "NoisyBottleneck", "NoisyConfig", "Sampled",
           "SparseBottleneck", "SparseConfig", "config_class", "new_bottleneck"]
