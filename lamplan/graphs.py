"""CUDA graphs: a GPU with little to compute waits for the CPU that starts hundreds of kernels; a graph starts them all at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from lamplan.models.prepared import Prepared, may_prepare

KEPT = 12  # graphs, each with memory of its own: three of every length of history that a `Planner.warmup` sees


class Graphs:
    """A function of tensors, replayed where it was captured for such tensors before.

    `function(shape, tensors)` must do the same work for the same `shape` (anything hashable) and shapes of the tensors, without looking at
    their values. What comes a second time is captured, since many things come once. The gradient by the first tensor alone is known.
    """

    def __init__(self, function: Callable[[Any, list[Tensor]], Tensor]) -> None:
        self.function = function
        self._captured: OrderedDict[Any, Callable[..., Tensor] | None] = OrderedDict()

    def __call__(self, shape: Any, tensors: list[Tensor]) -> Tensor:
        slope = torch.is_grad_enabled() and tensors[0].requires_grad
        key = shape, slope, tuple((tuple(x.shape), x.dtype) for x in tensors)
        if may_prepare(Prepared.GRAPHS):  # else a graph that cannot be captured now would only take the place of one that was
            if key in self._captured and self._captured[key] is None:
                self._captured[key] = self._capture(shape, tensors, slope)
            self._captured.setdefault(key, None)
            self._captured.move_to_end(key)
            if len(self._captured) > KEPT:
                self._captured.popitem(last=False)
        graph = self._captured.get(key)
        # A copy: the next replay writes to the same place.
        return self.function(shape, tensors) if graph is None else graph(*tensors).clone()

    def _capture(self, shape: Any, tensors: list[Tensor], slope: bool) -> Callable[..., Tensor]:
        samples = [x.detach().clone(memory_format=torch.contiguous_format) for x in tensors]
        samples[0].requires_grad_(slope)
        return cast("Callable[..., Tensor]", torch.cuda.make_graphed_callables(lambda *given: self.function(shape, list(given)),
                                                                               tuple(samples)))
