"""How much memory tensors take at most while something is computed: what a GPU's allocator would be asked for, on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Live(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.storages = dict[int, tuple[StorageWeakRef, int]]()
        self.at_most, self.peak = 0, 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        inputs = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for x in tree_leaves(made):
            if isinstance(x, torch.Tensor) and x.untyped_storage()._cdata not in inputs:  # no view
                kept = StorageWeakRef(x.untyped_storage())
                self.storages[kept.cdata] = kept, x.untyped_storage().nbytes()
                self.at_most += x.untyped_storage().nbytes()
        if self.at_most > self.peak:  # else not worth looking what of it is still there
            self.storages = {key: (kept, size) for key, (kept, size) in self.storages.items() if not kept.expired()}
            self.at_most = sum(size for _, size in self.storages.values())
            self.peak = max(self.peak, self.at_most)
        return made


def peak_bytes(work: Callable[[], object]) -> int:
    """The most that tensors made by `work` took at once."""
    with _Live() as live:
        work()
    return live.peak
