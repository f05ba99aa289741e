"""What a benchmark asks of the machine it runs on, beside the time."""

from __future__ import annotations

import resource
import sys

import torch


def forget_peak(device: torch.device) -> None:
    """Has an accelerator's peak begin anew; that of a process cannot."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: torch.device) -> float:
    """The most memory this process has held: the accelerator's since `forget_peak`, or resident in the machine's, ever."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of what `ru_maxrss` counts
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
