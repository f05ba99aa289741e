"""SIGTERM, by which a scheduler announces that it wants its machine back."""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Any

STATUS = 128 + signal.SIGTERM


class Stop:
    """Within this context SIGTERM does not end the process but sets `asked`, for the loop to save and stop."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def _ask(self, *_: Any) -> None:
        self.asked = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
