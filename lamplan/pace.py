"""How many candidates to imagine at once, and how many there is time for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
import torch

from lamplan.rollout import Dynamics

IN_CACHE, FEWEST = 94 * 2**20, 4
"""Bytes that candidates in flight take on a CPU, of the shipped model over three steps 27 of them in fp32 and 55 in bf16: few enough that
much of what passes between two layers stays in its caches. But never fewer candidates than that, however large the model."""
STRIDE_OF_DEADLINE = 0.1
"""A portion of candidates takes at most this share of the time allowed: so late a plan can be."""


MEMORY_SHARE = 0.6
"""Of the memory that is free, this share may be filled with imagined frames."""


def most_in_flight(dynamics: Dynamics, horizon: int, slope: bool = False) -> int:
    """As many candidates as memory holds, on a CPU no more than its caches like; of those whose costs' `slope` is asked for, which no cache
    holds, as many as memory does."""
    each = dynamics.candidate_bytes(horizon, slope)
    most = int(MEMORY_SHARE * free_bytes(dynamics.device) / each)
    return max(1, most if slope or dynamics.device.type == "cuda" else min(most, max(FEWEST, IN_CACHE // each)))


def free_bytes(device: torch.device) -> int:
    """Memory that is free now: of the accelerator, torch's own unused blocks included, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)


def wait_for(device: torch.device) -> None:
    """Until an accelerator has computed what it was asked for: before that a clock tells of the asking alone."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Pace:
    """Seconds per candidate, and from a search's last iteration to the plan, as this planner has seen them; slow to forget a slow one."""

    candidate_s: float = 0.0
    finish_s: float = 0.0

    def in_flight(self, most: int, deadline_s: float | None) -> int:
        """Candidates at once: as many as memory (`most`) allows; a power of two that the deadline allows, for on an accelerator the first
        plan with a new number waits for its kernels."""
        if deadline_s is None or self.candidate_s == 0:
            return most
        allowed = max(1, int(STRIDE_OF_DEADLINE * deadline_s / self.candidate_s))
        return most if most <= allowed else 1 << (allowed.bit_length() - 1)

    @classmethod
    def of_two(cls, deadline_s: float) -> Pace:
        """One that allows two candidates at once."""
        return cls(candidate_s=STRIDE_OF_DEADLINE * deadline_s / 2.5)

    def saw_candidates(self, count: int, seconds: float) -> None:
        self.candidate_s = _remember(self.candidate_s, seconds / count)

    def saw_finish(self, seconds: float) -> None:
        self.finish_s = _remember(self.finish_s, seconds)


def _remember(held: float, new: float) -> float:
    if held == 0:
        return new
    new = min(new, 2 * held)  # one that stalled, for whatever else the machine did, would be remembered for dozens of plans
    return max(new, 0.9 * held + 0.1 * new)


@dataclass
class Deadline:
    """Says whether there is time for another portion of candidates, or another iteration of a search. Where there is a deadline it calls
    `wait` before it looks at the clock."""

    begun: float
    seconds: float | None
    pace: Pace
    wait: Callable[[], None] = lambda: None
    last_iteration: float = field(default_factory=lambda: time.perf_counter())
    longest: float = 0.0

    @property
    def left_s(self) -> float:
        if self.seconds is None:
            return float("inf")
        self.wait()
        return self.seconds - self.pace.finish_s - (time.perf_counter() - self.begun)

    @property
    def late_s(self) -> float:
        """Seconds past the deadline, if any."""
        return 0.0 if self.seconds is None else max(0.0, time.perf_counter() - self.begun - self.seconds)

    def time_for(self, candidates: int) -> bool:
        return self.left_s > candidates * self.pace.candidate_s

    def iteration_over(self) -> bool:
        """True where another iteration as long as the longest would end too late; called once after each."""
        if self.seconds is not None:
            self.wait()
        now = time.perf_counter()
        self.longest, self.last_iteration = max(self.longest, now - self.last_iteration), now
        return self.left_s < self.longest

    def plan_over(self) -> None:
        """Called when the plan is there. What came after the last iteration, the search's own look at its answer included, is the rest
        that the next plan must leave time for. Without a deadline nobody waited for that iteration, and nothing is known."""
        if self.seconds is not None:
            self.pace.saw_finish(time.perf_counter() - self.last_iteration)
