"""NumPy arrays and torch tensors through the same formulas: a tensor stays on its device and in its dtype, and can be differentiated."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")


def library(values: Any) -> Any:
    """torch for a tensor, NumPy for anything else. torch is not loaded for it: a simulator's worker or a log's reader never needs it."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(values, torch.Tensor) else np


def numbers(values: Array) -> Array:
    """A tensor as it is, anything else as NumPy in float64."""
    found: Any = values
    if library(found) is np:
        found = np.asarray(found, dtype=np.float64)
    return found


def like(values: Any, array: Array) -> Array:
    """The values beside the array: of its library and dtype, and on its device."""
    beside: Any = array
    if library(beside) is not np:
        return library(beside).as_tensor(values, dtype=beside.dtype, device=beside.device)
    found: Any = np.asarray(values, dtype=beside.dtype)
    return found
