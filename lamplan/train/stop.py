"""SIGTERM, by which a scheduler announces that it wants its machine back, and SIGINT, by which a user does (Ctrl-C)."""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Any


class Stop:
    """Within this context the first of these signals does not end the process but is kept as `asked`, for the loop to save and stop.

    After a Ctrl-C another means what it did before: it ends the process at once.
    """

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # A shell lets its background jobs ignore the terminal's Ctrl-C, which is not meant for them.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, _: Any) -> None:
        self.asked = self.asked or signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(number, self._before[signal.SIGINT])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
