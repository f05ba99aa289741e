"""`frames_at`: the frames of a video file at given times, found by their own time stamps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lamplan.errors import DataError
from lamplan.logs.film import open_container
from lamplan.logs.parts import stack_images


def frames_at(path: Path, times_s: np.ndarray, tolerance_s: float, where: str, count: int | None = None) -> np.ndarray:
    """Images (K, H, W, 3) uint8 whose time stamps, counted from the video's first frame, are nearest to times_s (K,).

    Each time must have a frame within `tolerance_s` and no two different times the same one, else the video and what it is read for
    do not belong together. `count`: frames that the file must hold in all. The rate that the file's header claims is never used.
    Decoding begins at the key frame before a time and goes on from there, unless another key frame lies nearer to the next.
    """
    order = np.argsort(times_s, kind="stable")
    try:
        container, stream = open_container(path)
        with container:
            if count is not None and stream.frames and stream.frames != count:
                raise DataError(f"{where}: {path.name} has {stream.frames} frames for {count} states; there must be one per state.")
            found = list(_nearest(container, stream, np.asarray(times_s)[order], tolerance_s, where))
    except (av.error.FFmpegError, ValueError, MemoryError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{where}: {path} cannot be read as video ({reason}); it is empty, cut short or damaged.") from None
    if not found:
        return np.empty((0, stream.height, stream.width, 3), np.uint8)
    return stack_images([found[place] for place in np.argsort(order)], f"{where}: {path.name}")


def _nearest(container: InputContainer, stream: VideoStream, times_s: np.ndarray, tolerance_s: float, where: str) -> Iterator[np.ndarray]:
    """For each of the rising times the frame nearest to it, as RGB (H, W, 3)."""
    tick = float(stream.time_base or 1)
    targets = times_s / tick + (stream.start_time or 0)
    decoded: Iterator[VideoFrame] = iter(())
    # The two frames on either side of a target; `image` is that of the frame last chosen, which the same time may ask for again.
    before: VideoFrame | None = None
    after: VideoFrame | None = None
    chosen, image, last = None, None, np.nan
    for target in targets:
        if after is None or _nearer_key(stream, target, after):
            decoded = _decoded_from(container, stream, target)
            before, after = None, next(decoded, None)
        while after is not None and _pts(after) < target:
            before, after = after, next(decoded, None)
        sides = [frame for frame in (before, after) if frame is not None]
        best = min(sides, key=lambda frame: abs(_pts(frame) - target), default=None)
        if best is None or abs(_pts(best) - target) * tick > tolerance_s:
            seconds = (target - (stream.start_time or 0)) * tick
            raise DataError(f"{where}: no frame within {tolerance_s:.3g} s of {seconds:.3f} s; frames are missing, or the video's clock is "
                            "not that of the states.")
        if best is chosen and target != last:
            raise DataError(f"{where}: one frame, at {_pts(best) * tick:.3f} s, is nearest to two states; the camera lost frames.")
        if best is not chosen or image is None:
            image = best.to_ndarray(format="rgb24")
        chosen, last = best, target
        # At the end of the video the last frame stays at hand for a time a little later than it.
        after = before if after is None else after
        yield image


def _decoded_from(container: InputContainer, stream: VideoStream, target: float) -> Iterator[VideoFrame]:
    """Frames in order of time, beginning at or before the target, as near to it as the key frames allow."""
    second = 1 / float(stream.time_base or 1)
    # A container finds key frames by decoding time, which may lie before the time of showing: then one goes back a little further.
    for earlier in (0.0, second, 10 * second):
        container.seek(int(target - earlier), stream=stream, backward=True)
        decoded = container.decode(stream)
        first = next(decoded, None)
        if first is not None and _pts(first) <= target:
            return chain((first,), decoded)
    container.seek(stream.start_time or 0, stream=stream, backward=True)
    return container.decode(stream)


def _nearer_key(stream: VideoStream, target: float, at: VideoFrame) -> bool:
    """Whether a key frame lies between the frame reached and the target, so that a jump saves decoding."""
    index = stream.index_entries.search_timestamp(int(target))
    return index >= 0 and stream.index_entries[index].timestamp > _pts(at)


def _pts(frame: VideoFrame) -> int:
    if frame.pts is None:
        raise ValueError("a frame has no time stamp")
    return frame.pts
