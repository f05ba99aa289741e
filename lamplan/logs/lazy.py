"""`Episodes`: a log whose episodes are opened only when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from lamplan.logs.episode import Episode


class Episodes(Sequence[Episode]):
    """`count` episodes; `load(i)` opens the i-th. Nothing is kept, so a log of any number of episodes costs no memory."""

    def __init__(self, count: int, load: Callable[[int], Episode]) -> None:
        self._count, self._load = count, load

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Episode]: ...

    def __getitem__(self, index: int | slice) -> Episode | Sequence[Episode]:
        chosen = range(self._count)[index]
        if isinstance(chosen, range):
            return Episodes(len(chosen), lambda i: self._load(chosen[i]))
        return self._load(chosen)
