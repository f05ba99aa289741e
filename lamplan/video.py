"""Clips out of ordinary video files, and video files out of clips."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from lamplan.errors import DataError, InputError

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts")
# A file may call itself .mp4 and be a playlist that makes the reader open other files; only real containers are read.
CONTAINERS = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts", "protocol_whitelist": "file"}
# A target time and a frame's time that differ by less are the same moment: containers round times to ticks.
TICK_S = 2e-3
# Within a longer gap between two frames there is nothing to see, and a damaged time stamp may claim one of years.
MAX_GAP_S = 60.0


def find_videos(folder: str | Path) -> list[Path]:
    """All video files under a folder, at any depth, in the order of their names. Raises DataError when there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no folder of videos at {folder}.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"{folder} holds no video: expected files ending in {', '.join(SUFFIXES)}, at any depth.")
    return found


def read_clip(path: str | Path, fps: float = 4.0, size: int = 128, start_s: float | None = None, frames: int | None = None) -> np.ndarray:
    """Images (T, size, size, 3) uint8 at times start_s, start_s + 1/fps, ... seconds after the video's first frame.

    Each is the frame whose own time stamp lies nearest (the rate that a header claims is not believed), cut to the middle square and
    averaged down to `size` pixels. `frames` ends the clip after that many images; it is shorter where the video ends first.
    Raises DataError when the file is missing, empty, damaged, without pictures or over before start_s.
    """
    clip = list(stream_clip(path, fps, size, start_s, frames))
    if not clip:
        raise DataError(f"{path} has no frame at {start_s or 0.0:g} s or later.")
    return np.stack(clip)


def stream_clip(path: str | Path, fps: float = 4.0, size: int = 128, start_s: float | None = None,
                frames: int | None = None) -> Iterator[np.ndarray]:
    """The images of `read_clip` one at a time, each (size, size, 3) uint8, for a video too long to be held in memory.

    None where the video is over before start_s; an error may come after images, at the place where the file is damaged.
    """
    path, start_s = Path(path), start_s or 0.0
    if not fps > 0 or size < 1 or start_s < 0 or (frames is not None and frames < 1):
        raise InputError(f"a clip needs fps > 0, size >= 1, start_s >= 0 and frames >= 1; found {fps=}, {size=}, {start_s=}, {frames=}.")
    if not path.is_file():
        raise DataError(f"no video at {path}.")
    try:
        # As an absolute path, no name can be taken for the address of another protocol.
        with av.open(str(path.absolute()), options=CONTAINERS) as container:
            if not container.streams.video:
                raise DataError(f"{path} has no pictures, only {', '.join(s.type for s in container.streams) or 'an empty container'}.")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise DataError(f"{path} holds pictures in a code that is not known here; convert it to H.264.")
            scaler = VideoReformatter()
            for frame in _nearest(_timed(container, stream, start_s), fps, start_s, frames):
                yield _square(frame, size, scaler)
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read as video ({reason}); it is empty, cut short or damaged. Make or copy it anew.") from None


def write_video(path: str | Path, frames: np.ndarray, fps: float, crf: int = 23) -> None:
    """Writes images (T, H, W, 3) uint8 as H.264 in an MP4 that any player shows (yuv420p).

    Odd heights and widths gain one repeated row or column, which the format demands. `crf` is x264's quality: 18 is nearly
    lossless, 23 its default, 30 rough. The file gets its name only when it is complete.
    """
    path, frames = Path(path), np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise InputError(f"a video is written from uint8 images (T, H, W, 3) with T at least 1, found {frames.dtype} {frames.shape}.")
    if not fps > 0:
        raise InputError(f"a video's rate must be positive, found {fps} Hz.")
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        _encode(unfinished, frames, Fraction(fps).limit_denominator(1000), crf)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(path: Path, frames: np.ndarray, rate: Fraction, crf: int) -> None:
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf)})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for image in frames:
            container.mux(stream.encode(VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))


def _timed(container: InputContainer, stream: VideoStream, start_s: float) -> Iterator[tuple[float, VideoFrame]]:
    """Decoded frames with their times in seconds after the video's first frame, beginning at or shortly before start_s."""
    # One thread per file: clips are decoded by many processes at once.
    stream.codec_context.thread_count = 1
    tick = float(stream.time_base) if stream.time_base else 0.0
    # AVI keeps no presentation times: with B-frames its pts are wrong, its decoding times right but for a constant delay.
    avi = container.format.name == "avi"
    origin = None if avi or stream.start_time is None else stream.start_time * tick
    if start_s and tick and origin is not None:
        container.seek(int((origin + start_s) / tick), stream=stream, backward=True)
    last, step = -np.inf, 1 / float(stream.average_rate or 25)
    for frame in container.decode(stream):
        ticks = frame.dts if avi else frame.pts
        if ticks is not None and tick:
            stamp = ticks * tick
        else:
            # Only a frame without any time stamp is placed by the rate that the header claims.
            stamp = last + step if np.isfinite(last) else origin or 0.0
        origin = stamp if origin is None else origin
        if stamp > last:
            yield stamp - origin, frame
            last = stamp


def _nearest(timed: Iterator[tuple[float, VideoFrame]], fps: float, start_s: float, frames: int | None) -> Iterator[VideoFrame]:
    """For each moment start_s + k / fps that the video reaches, the frame nearest to it (the earlier of two)."""
    done, before = 0, None
    for time, frame in timed:
        if (gap := time - (before[0] if before else start_s)) > MAX_GAP_S:
            raise ValueError(f"its frames are {gap:.0f} s apart")
        while (target := start_s + done / fps) <= time + TICK_S:
            yield before[1] if before is not None and target - before[0] <= time - target else frame
            done += 1
            if done == frames:
                return
        before = (time, frame)


def _square(frame: VideoFrame, size: int, scaler: VideoReformatter) -> np.ndarray:
    """The middle square of a frame as RGB (size, size, 3) uint8, averaged over the area of each new pixel."""
    short = min(frame.width, frame.height)
    width, height = (max(size, round(side * size / short)) for side in (frame.width, frame.height))
    image = scaler.reformat(frame, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA, threads=1).to_ndarray()
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]
