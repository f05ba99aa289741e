"""The optimiser of every training here: AdamW, or Muon for the hidden matrices beside it; one schedule for both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class OptimiserConfig:
    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3  # of AdamW
    muon_learning_rate: float = 0.02  # of the hidden matrices where kind is muon (paper section 3)
    weight_decay: float = 0.04  # of matrices
    warmup: float = 0.05  # share of the budget
    clip_norm: float = 1.0


def schedule(progress: float, warmup: float) -> float:
    """Share of the peak learning rate: a linear warm-up, then a cosine down to one hundredth."""
    if progress < warmup:
        return max(progress / warmup, 0.01)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def learning_rate(progress: float, config: OptimiserConfig) -> float:
    """AdamW's learning rate when `progress` (0 to 1) of the budget is spent."""
    return config.learning_rate * schedule(progress, config.warmup)


class Optimisers:
    """Muon for the matrices inside the blocks if the recipe says so, AdamW for all the rest: embeddings, heads, codebooks,
    norms and biases. Muon is not meant for these (Jordan et al. 2024); decay is for matrices alone."""

    def __init__(self, module: nn.Module, config: OptimiserConfig) -> None:
        self.config = config
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        hidden = [p for name, p in named if config.kind == "muon" and p.ndim == 2 and "blocks." in name]
        taken = {id(p) for p in hidden}
        matrices = [p for _, p in named if p.ndim >= 2 and id(p) not in taken]
        others = [p for _, p in named if p.ndim < 2]
        groups = [{"params": part, "weight_decay": decay} for part, decay in ((matrices, config.weight_decay), (others, 0.0)) if part]
        self.parts: list[torch.optim.Optimizer] = []
        if hidden:
            self.parts.append(torch.optim.Muon(hidden, lr=config.muon_learning_rate, weight_decay=config.weight_decay))
        if groups:
            self.parts.append(torch.optim.AdamW(groups, lr=config.learning_rate))

    @property
    def parameters(self) -> list[Tensor]:
        return [p for part in self.parts for group in part.param_groups for p in group["params"]]

    def step(self, progress: float) -> None:
        """One step with the learning rates of this moment of the budget; the gradients are used up."""
        share = schedule(progress, self.config.warmup)
        for part in self.parts:
            peak = self.config.muon_learning_rate if isinstance(part, torch.optim.Muon) else self.config.learning_rate
            for group in part.param_groups:
                group["lr"] = peak * share
            part.step()
            part.zero_grad(set_to_none=True)
