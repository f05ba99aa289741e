"""Batches of a run in parts: which process computes which part of a step, and drawing them ahead of their use."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lamplan.errors import InputError
from lamplan.train.distribution import World

Draw = Callable[[int, int], Any]
"""`draw(index, size)`: clips of one part of a batch, depending on nothing but a seed, the index and the size."""

AHEAD = 2  # parts drawn before they are needed


@dataclass(frozen=True)
class Parts:
    """A batch is cut into parts of `micro` clips, numbered through the whole run; process r of W computes the parts r,
    r + W, r + 2W, ... The parts and their numbers are the same for any number of processes, and so is what is learned."""

    batch: int
    micro: int
    world: World

    def __post_init__(self) -> None:
        if self.micro < 1 or self.batch % self.micro or self.count % self.world.size:
            raise InputError(f"a batch of {self.batch} clips in parts of {self.micro} cannot be shared by {self.world.size} processes: "
                             f"set micro_batch so that batch / micro_batch is a multiple of the number of processes.")

    @property
    def count(self) -> int:
        """Parts of a step, over all processes."""
        return self.batch // self.micro

    @property
    def own(self) -> int:
        """Parts of a step that fall to this process."""
        return self.count // self.world.size

    def index(self, step: int, k: int) -> int:
        """The number of this process's k-th part of a step."""
        return step * self.count + k * self.world.size + self.world.rank


class Ahead:
    """Draws this process's parts in order, in a thread, a few ahead of their use, and puts them on the device."""

    def __init__(self, draw: Draw, parts: Parts, step: int, device: torch.device) -> None:
        self._draw, self._parts, self._device = draw, parts, device
        self._step, self._k = step, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="draw")
        self._waiting: deque[Future[Any]] = deque()
        self.waited = 0.0  # seconds

    def step(self) -> list[Any]:
        """All parts of the next step."""
        started = time.monotonic()
        drawn = [self._next() for _ in range(self._parts.own)]
        self.waited += time.monotonic() - started
        return drawn

    def _next(self) -> Any:
        while len(self._waiting) <= AHEAD:
            self._waiting.append(self._thread.submit(self._fetch, self._parts.index(self._step, self._k)))
            self._k += 1
            if self._k == self._parts.own:
                self._step, self._k = self._step + 1, 0
        return self._waiting.popleft().result()

    def _fetch(self, index: int) -> Any:
        return _moved(self._draw(index, self._parts.micro), self._device)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)


def _moved(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device)
    return tuple(_moved(part, device) for part in batch) if isinstance(batch, tuple) else batch
