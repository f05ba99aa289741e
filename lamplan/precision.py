"""What matrix products are computed in, wherever that can be chosen."""

from __future__ import annotations

from typing import Literal, get_args

import torch

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def usual(device: str) -> Precision:
    """What training takes where nothing is said: bf16 on an accelerator, fp32 on a CPU, of which not all have a unit for bf16."""
    return "fp32" if device == "cpu" else "bf16"


def products(device: torch.device, precision: Precision) -> torch.autocast:
    """A block in which matrix products of fp32 tensors are computed in this precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
