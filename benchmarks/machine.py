"""What a benchmark asks of the machine it runs on, beside the time."""

from __future__ import annotations

import resource
import sys

import torch


def peak_gib(device: torch.device) -> float:
    """The most memory this process has ever held: the accelerator's, or resident in the machine's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of what `ru_maxrss` counts
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
