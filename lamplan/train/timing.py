"""Time on the clock and time at work: the first is what a user waits for, the second what other programs hardly change."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Seconds:
    """`wall` on the clock; `busy` those in which the device was at work for this process: on a CPU processor time over torch's
    threads, which other programs prolong far less; on an accelerator the same as `wall`."""

    wall: float = 0.0
    busy: float = 0.0

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall + other.wall, self.busy + other.busy)

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.busy - other.busy)


def now(device: torch.device) -> Seconds:
    """This moment, once the device has done what it was given. Only differences mean something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    wall = time.perf_counter()
    return Seconds(wall, time.process_time() / torch.get_num_threads() if device.type == "cpu" else wall)


def timed(work: Callable[[], object], device: torch.device) -> Seconds:
    """What `work` takes, an accelerator's queue included."""
    begun = now(device)
    work()
    return now(device) - begun
