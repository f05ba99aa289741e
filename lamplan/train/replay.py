"""CUDA graphs of a training step: for models so small that a GPU waits for the CPU that starts their kernels, not the other way round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from lamplan.models.plain import is_plain

Numbers = dict[str, Tensor]


class Replayed:
    """A loss of a module's parameters and of one tensor of data, forward and backward, captured for each `case` (anything hashable) and
    shape when it first comes and replayed from then on.

    What is drawn at random is drawn anew. The numbers to show are those of the last call, and the gradients lie where the next call writes,
    so a step computes one part alone. Where no gradient is asked for, or no GPU holds the data, it is the loss itself.
    """

    def __init__(self, module: nn.Module, loss: Callable[[Tensor, Any], tuple[Tensor, Numbers]]) -> None:
        self.module, self.loss = module, loss
        self._captured: dict[Any, Callable[[Tensor], tuple[Tensor, Numbers]]] = {}

    def __call__(self, data: Tensor, case: Any = None) -> tuple[Tensor, Numbers]:
        if data.device.type != "cuda" or not torch.is_grad_enabled() or is_plain():
            return self.loss(data, case)
        key = case, tuple(data.shape), data.dtype
        if key not in self._captured:
            part = _Part(self, case)
            with torch.autocast("cuda", enabled=False):  # whose own casts would be kept from one step to the next
                self._captured[key] = cast(Any, torch.cuda.make_graphed_callables(part, (data.clone(),), allow_unused_input=True))
        return self._captured[key](data)


class _Part(nn.Module):
    def __init__(self, replayed: Replayed, case: Any) -> None:
        super().__init__()
        self.module, self.case = replayed.module, case
        self._loss = replayed.loss
        self.autocast = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")

    def forward(self, data: Tensor) -> tuple[Tensor, Numbers]:
        enabled, dtype = self.autocast
        with torch.autocast("cuda", dtype=dtype, enabled=enabled, cache_enabled=False):
            loss, numbers = self._loss(data, self.case)
        return loss, {name: number.detach() for name, number in numbers.items()}
