"""Frames of a video file in any order: their times are listed once, seeks go to key frames, and what was decoded is kept for a while."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from lamplan.errors import DataError, InputError
from lamplan.video import CONTAINERS

# A camera of more than 8K is a damaged header, and every frame would cost 100 MB.
MAX_PIXELS = 2**25
# Files that one process keeps open, and decoded images that it keeps of each.
OPEN_FILMS = 8
KEPT_BYTES = 32 * 2**20
# What PyAV raises on damaged files. Lists of times are small and may be kept for many files.
BROKEN = (av.error.FFmpegError, ValueError, OverflowError, MemoryError)
LISTED_FILMS = 256
# A seek empties the decoder, which must then be filled again: over fewer frames than this it is quicker to decode on.
SEEK_FRAMES = 16


@dataclass(frozen=True)
class FrameTable:
    """What the N frames of a video are called, in order of presentation.

    ticks: (N,) time stamps, increasing, each `tick_s` seconds long.
    keys:  (N,) number of the key frame at which decoding must begin to reach frame n.
    """

    ticks: np.ndarray
    keys: np.ndarray
    tick_s: float


class Film:
    """One open video. Reading goes on from where it stopped whenever that is nearer than the last key frame."""

    def __init__(self, path: Path, table: FrameTable, container: InputContainer, stream: VideoStream) -> None:
        self.path, self.table = path, table
        self._container, self._stream = container, stream
        self._decoder: Iterator[VideoFrame] | None = None
        self._last = -1
        self._scaler = VideoReformatter()
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def header_hz(self) -> float:
        """The frame rate that the file's header claims, 0 where it claims none."""
        return float(self._stream.average_rate or 0)

    def frames(self, numbers: np.ndarray) -> np.ndarray:
        """Images (K, H, W, 3) uint8 of the frames (K,), K at least 1."""
        images: np.ndarray | None = None
        with self._lock:
            for place in np.argsort(numbers, kind="stable").tolist():
                image = self._frame(int(numbers[place]))
                images = np.empty((len(numbers), *image.shape), np.uint8) if images is None else images
                if image.shape != images.shape[1:]:
                    raise ValueError("its frames differ in size")
                images[place] = image
        assert images is not None, "at least one frame is asked for"
        return images

    def _frame(self, number: int) -> np.ndarray:
        image = self._kept.pop(number, None)
        if image is None:
            image = self._decode(number)
        self._kept[number] = image
        while len(self._kept) > 1 and len(self._kept) * image.nbytes > KEPT_BYTES:
            self._kept.popitem(last=False)
        return image

    def _decode(self, number: int) -> np.ndarray:
        key = int(self.table.keys[number])
        # A seek may land behind its target where a file's own list of key frames is wrong; from the very start nothing is missed.
        for start in (key, 0):
            if self._decoder is None or not start - SEEK_FRAMES <= self._last < number:
                self._container.seek(int(self.table.ticks[start]), stream=self._stream, backward=True)
                self._decoder, self._last = self._container.decode(self._stream), -1
            frame = self._advance(number)
            if frame is not None:
                return self._scaler.reformat(frame, format="rgb24", threads=1).to_ndarray()
            self._decoder = None
        raise DataError(f"{self.path}: frame {number} of {len(self.table.ticks)} cannot be decoded; the video is damaged. Copy it anew.")

    def _advance(self, number: int) -> VideoFrame | None:
        """The wanted frame, or None when the video ends or passes it by."""
        wanted = self.table.ticks[number]
        for frame in self._decoder or ():
            stamp = _stamp(frame, self._container)
            if stamp is None or stamp < wanted:
                continue
            self._last = number
            return frame if stamp == wanted else None
        return None


def read_frames(path: Path, numbers: np.ndarray, count: int | None = None) -> np.ndarray:
    """Images (K, H, W, 3) uint8 of the frames `numbers` (K,) of a video, counted from 0 in order of presentation.

    count: how many frames the video must have, one for each recorded state. Raises DataError when it has another number of
    them, or is missing or damaged.
    """
    numbers = np.asarray(numbers, dtype=np.int64)
    film = _opened(path)
    total = len(film.table.ticks)
    if count is not None and total != count:
        raise DataError(f"{path} has {total} frames for {count} recorded states; there must be one frame per state. "
                        "Copy or export the video anew, or leave this episode out.")
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= total):
        raise InputError(f"{path} has frames 0 to {total - 1}; asked for {numbers.min()} to {numbers.max()}.")
    try:
        # One frame also tells the size of none.
        return film.frames(numbers) if len(numbers) else film.frames(np.zeros(1, np.int64))[:0]
    except BROKEN as error:
        _film.cache_clear()
        raise _unreadable(path, error) from None


def frame_times(path: Path) -> np.ndarray:
    """Times (N,) of all frames in seconds after the first, by the video's own stamps and not by the rate in its header."""
    table = _opened(path).table
    return (table.ticks - table.ticks[0]) * table.tick_s


def header_hz(path: Path) -> float:
    """The frame rate that a video's header claims, 0 where it claims none: a setting of the camera, often not the recording's."""
    return _opened(path).header_hz


def open_container(path: Path) -> tuple[InputContainer, VideoStream]:
    """A video file and its pictures, with one thread and a bound on their size."""
    # As an absolute path, no name can be taken for the address of another protocol.
    container = av.open(str(path.absolute()), options=CONTAINERS)
    if not container.streams.video:
        raise ValueError("it has no pictures")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ValueError("its pictures are in a code that is not known here")
    if not stream.time_base:
        raise ValueError("its pictures have no clock")
    if stream.width * stream.height > MAX_PIXELS:
        raise ValueError(f"it claims frames of {stream.width} x {stream.height} pixels")
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    # Episodes are read by many processes at once.
    stream.codec_context.thread_count = 1
    return container, stream


def _list_frames(container: InputContainer, stream: VideoStream) -> FrameTable:
    """Lists all frames from the container alone, without decoding."""
    rows = [(stamp, packet.is_keyframe) for packet in container.demux(stream)
            if packet.size and not packet.is_discard and (stamp := _stamp(packet, container)) is not None]
    tick_s = float(stream.time_base or 0)
    if not rows:
        raise ValueError("it has no frame with a time stamp")
    ticks, first = np.unique(np.array([row[0] for row in rows], np.int64), return_index=True)
    is_key = np.array([row[1] for row in rows])[first]
    keys = np.maximum.accumulate(np.where(is_key, np.arange(len(ticks)), 0))
    return FrameTable(ticks, keys, tick_s)


_tables: dict[tuple[Path, int, int], FrameTable] = {}


@lru_cache(OPEN_FILMS)
def _film(path: Path, changed_ns: int, size: int) -> Film:
    """The video at a path; its time of change and size tell it from another one there."""
    container, stream = open_container(path)
    key = path, changed_ns, size
    table = _tables.pop(key, None) or _list_frames(container, stream)
    _tables[key] = table
    for old in list(_tables)[:-LISTED_FILMS]:
        _tables.pop(old, None)
    return Film(path, table, container, stream)


def _opened(path: Path) -> Film:
    try:
        about = path.stat()
    except OSError:
        raise DataError(f"no video at {path}.") from None
    try:
        return _film(path.absolute(), about.st_mtime_ns, about.st_size)
    except BROKEN as error:
        raise _unreadable(path, error) from None


def forget() -> None:
    """Closes all videos and forgets what is known of them, as a new process begins."""
    _film.cache_clear()
    _tables.clear()


# A child process shares its parent's position in every open file, so it must open its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_film.cache_clear)


def _stamp(piece: av.Packet | VideoFrame, container: InputContainer) -> int | None:
    # AVI keeps no times of presentation.
    return piece.dts if container.format.name == "avi" else piece.pts


def _unreadable(path: Path, error: BaseException) -> DataError:
    reason = getattr(error, "strerror", None) or error
    return DataError(f"{path} cannot be read as video ({reason}); it is empty, cut short or damaged. Make or copy it anew.")
