"""Processes that decode video: a file that crashes or stalls its decoder costs one process, never the run."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from lamplan.errors import DataError, LamplanError
from lamplan.video import Video, duration_s, read_window

T = TypeVar("T")
PATIENCE_S = 60.0  # for one clip; a sound file takes well under a second
START_S = 120.0  # for a process to begin on a busy machine
MEMORY_BYTES = 8 << 30  # of a process: a damaged header may ask for any
_PROGRAM = "import sys; from lamplan.decoders import serve; serve(int(sys.argv[1]))"


def default_workers() -> int:
    """The cores that this process may use, shared out among torchrun's processes on the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class Decoder:
    """A process that answers one request at a time and is begun anew when it dies. For use by one thread.

    It takes requests as JSON and answers with JSON and plain bytes, so that what handles foreign files can make nothing
    run here; and it imports neither torch nor the program that uses it.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def window(self, video: Video, place: float, frames: int, fps: float, size: int) -> np.ndarray:
        """`lamplan.video.read_window`. Raises DataError also when decoding takes longer than PATIENCE_S or crashes twice."""
        return self._ask("window", video, place=place, frames=frames, fps=fps, size=size)[1]

    def duration_s(self, video: Video) -> float:
        """`lamplan.video.duration_s`, with the same errors."""
        return self._ask("duration", video)[0]["duration_s"]

    def close(self) -> None:
        if self._process is not None and self._connection is not None:
            self._connection.close()
            self._process.kill()
            self._process.wait()
        self._process = self._connection = None

    def _ask(self, what: str, video: Video, **arguments: Any) -> tuple[dict[str, Any], np.ndarray]:
        request = json.dumps([what, [str(video.path), video.start, video.size], arguments]).encode()
        # A process may also die for lack of memory, or be killed from outside: only the second time it is the file's fault.
        for _ in range(2):
            connection = self._connection or self._start()
            with suppress(EOFError, OSError):
                connection.send_bytes(request)
                if not connection.poll(PATIENCE_S):
                    self.close()
                    raise DataError(f"{video.name} keeps its decoder busy for more than {PATIENCE_S:g} s; it is damaged.")
                answer = json.loads(connection.recv_bytes())
                if "error" in answer:
                    raise DataError(answer["error"])
                images = np.empty(answer.get("shape", 0), np.uint8)
                if images.size:
                    connection.recv_bytes_into(images.reshape(-1).data)
                return answer, images
            self.close()
        raise DataError(f"{video.name} crashes its decoder; it is damaged.")

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(theirs.fileno())], pass_fds=[theirs.fileno()],
                                         env=environment, stdin=subprocess.DEVNULL)
        self._connection = ours
        theirs.close()
        try:
            if ours.poll(START_S):
                ours.recv_bytes()
                return ours
        except (EOFError, OSError):
            pass
        self.close()
        raise LamplanError("a process that decodes video does not start; its own message stands above.")


def serve(descriptor: int) -> None:
    """The other side of a `Decoder`: answers requests until its connection is closed."""
    # Ctrl-C and a scheduler's warning go to every process of the group: which one ends when is the trainer's to say.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    connection = Connection(descriptor)
    with suppress(EOFError, OSError):
        connection.send_bytes(b"ready")
        while True:
            what, (path, start, size), arguments = json.loads(connection.recv_bytes())
            answer, images = _answer(what, Video(Path(path), start, size), arguments)
            connection.send_bytes(json.dumps(answer).encode())
            if images is not None:
                connection.send_bytes(images.reshape(-1).data)


def _answer(what: str, video: Video, arguments: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray | None]:
    try:
        if what == "duration":
            return {"duration_s": duration_s(video)}, None
        images = np.ascontiguousarray(read_window(video, **arguments))
        return {"shape": images.shape}, images
    except DataError as error:
        return {"error": str(error)}, None
    except Exception as error:  # whatever else a damaged file brings about must not stop a run of weeks
        return {"error": f"{video.name} cannot be read as video ({type(error).__name__}: {error})."}, None


class Decoders:
    """Several decoders, each behind a thread of its own: `submit` hands work to the next one that is free, in order."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or default_workers()
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="decoder")
        self._local = threading.local()
        self._all: list[Decoder] = []

    def submit(self, work: Callable[[Decoder], T]) -> Future[T]:
        return self._threads.submit(lambda: work(self._mine()))

    def map(self, works: Iterable[Callable[[Decoder], T]]) -> Iterator[T]:
        """The results of all works in their order, a bounded number of them under way at once."""
        waiting: deque[Future[T]] = deque()
        for work in works:
            waiting.append(self.submit(work))
            if len(waiting) > 4 * self.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def close(self) -> None:
        """Drops what has not begun, waits for what has, and ends the processes."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for decoder in self._all:
            decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _mine(self) -> Decoder:
        if not hasattr(self._local, "decoder"):
            self._local.decoder = Decoder()
            self._all.append(self._local.decoder)
        return self._local.decoder
