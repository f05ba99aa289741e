"""Clips out of ordinary video files, and video files out of clips."""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from lamplan.errors import DataError, InputError
from lamplan.files import whole_file

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts")
# A file may call itself .mp4 and be a playlist that makes the reader open other files; only real containers are read.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts"
CONTAINERS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
MEMBERS = {"format_whitelist": FORMATS, "protocol_whitelist": "file,subfile"}
# A target time and a frame's time that differ by less are the same moment: containers round times to ticks.
TICK_S = 2e-3
# Within a longer gap between two frames there is nothing to see, and a damaged time stamp may claim one of years.
MAX_GAP_S = 60.0
# A seek that lands behind its target is made again this much earlier, then from the beginning.
LEAD_S = 20.0
# By how much pictures may end before the time that the header promises: a sound track that is a little longer is no damage.
SLACK_S, SLACK_SHARE = 1.0, 0.05


@dataclass(frozen=True)
class Video:
    """Where the bytes of a video lie: in a file of their own, or `size` bytes from `start` on in a shard (an uncompressed tar)."""

    path: Path
    start: int = 0
    size: int | None = None

    @property
    def name(self) -> str:
        """The file's path; of a member of a shard, `SHARD:MEMBER`."""
        if self.size is None:
            return str(self.path)
        try:
            return f"{self.path}:{_header(self).name}"
        except (OSError, tarfile.TarError):
            return f"{self.path}:{self.start}"


def read_clip(path: str | Path | Video, fps: float = 4.0, size: int = 128, start_s: float | None = None,
              frames: int | None = None) -> np.ndarray:
    """Images (T, size, size, 3) uint8 at times start_s, start_s + 1/fps, ... seconds after the video's first frame.

    Each is the frame whose own time stamp lies nearest (the rate that a header claims is not believed), turned as the header says, cut to
    the middle square and averaged down to `size` pixels. `frames` ends the clip after that many images; it is shorter where the video ends
    first.
    Raises DataError when the file is missing, empty, damaged, without pictures or over before start_s.
    """
    video, start_s = path if isinstance(path, Video) else Video(Path(path)), start_s or 0.0
    if not fps > 0 or size < 1 or start_s < 0 or (frames is not None and frames < 1):
        raise InputError(f"a clip needs fps > 0, size >= 1, start_s >= 0 and frames >= 1; found {fps=}, {size=}, {start_s=}, {frames=}.")
    return _read(video, fps, size, start_s, frames, strict=False)


def stream_clip(path: str | Path | Video, fps: float = 4.0, size: int = 128) -> Iterator[np.ndarray]:
    """The images of `read_clip` from the beginning to the end, one at a time (size, size, 3), for a video too long to be held in memory.

    An error may come after images, at the place where the file is damaged.
    """
    video, scaler = path if isinstance(path, Video) else Video(Path(path)), VideoReformatter()
    with _opened(video) as (container, stream):
        for frame in _nearest(_timed(container, stream, 0.0), fps, 0.0, None):
            yield _square(frame, size, scaler)


def read_window(video: Video, place: float, frames: int, fps: float, size: int) -> np.ndarray:
    """Images (frames, size, size, 3) uint8 as of `read_clip`, from a window that begins at share `place` (0 to 1) of the
    times at which it still fits into the video.

    The same arguments give the same images. Raises DataError as `read_clip` does, and when the video is too short for the
    window, ends before the time that it promises, or shows pictures that its decoder knows to be damaged.
    """
    needed_s, lasts_s = (frames - 1) / fps, duration_s(video)
    if lasts_s + TICK_S < needed_s:
        found = f"lasts {lasts_s:.2f} s" if lasts_s else "holds a single picture"
        raise DataError(f"{video.name} {found}, too short for a clip of {frames} frames at {fps:g} Hz ({needed_s:.2f} s).")
    start_s = place * max(0.0, lasts_s - needed_s)
    # In some containers the last packet's time is not exact: a clip that lacks its last picture is taken one picture earlier.
    for earlier_s in (0.0, 1 / fps):
        clip = _read(video, fps, size, max(0.0, start_s - earlier_s), frames, strict=True)
        if len(clip) == frames:
            return clip
    raise DataError(f"{video.name} has only {len(clip)} of the {frames} pictures of a clip inside its {lasts_s:.2f} s; it is damaged.")


def duration_s(video: Video) -> float:
    """Seconds from the first picture to the last, by the packets at the end of the file; no picture is decoded.

    Raises DataError when the file cannot be read, or ends clearly before the time that its header promises.
    """
    for seek in (True, False):
        with _opened(video) as (container, stream):
            if (found := _last_packet(container, stream, seek)) is None:
                continue
            first, last, end = found
            promised = stream.duration * float(stream.time_base or 0) if stream.duration else (container.duration or 0) / av.time_base
            # A transport stream may be cut anywhere: its last packet is always in doubt, and it promises nothing.
            if container.format.name != "mpegts" and promised - (end - first) > SLACK_S + SLACK_SHARE * promised:
                raise ValueError(f"it promises {promised:.1f} s, its pictures end after {end - first:.1f} s")
            return last - first
    raise DataError(f"{video.name} holds no pictures; it is empty, cut short or damaged. Make or copy it anew.")


def write_video(path: str | Path, frames: np.ndarray, fps: float, crf: int = 23, key_every: int | None = None) -> None:
    """Writes images (T, H, W, 3) uint8 as H.264 in an MP4 that any player shows (yuv420p), frame k at k / fps.

    Odd heights and widths gain one repeated row or column, which the format demands. `crf` is x264's quality: 18 is nearly
    lossless, 23 its default, 30 rough. With `key_every` any frame is found by decoding at most so many: a key frame stands that often,
    and no frame waits for a later one. The file gets its name only when it is complete.
    """
    path, frames = Path(path), np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise InputError(f"a video is written from uint8 images (T, H, W, 3) with T at least 1, found {frames.dtype} {frames.shape}.")
    if not fps > 0:
        raise InputError(f"a video's rate must be positive, found {fps} Hz.")
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    with whole_file(path) as unfinished:
        _encode(unfinished, frames, frame_rate(fps), {"crf": str(crf)} | ({"g": str(key_every), "bf": "0"} if key_every else {}))


def frame_rate(fps: float) -> Fraction:
    """The rate as a video's header keeps it."""
    return Fraction(fps).limit_denominator(1000)


def _encode(path: Path, frames: np.ndarray, rate: Fraction, options: dict[str, str]) -> None:
    with av.open(str(path.absolute()), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for image in frames:
            container.mux(stream.encode(VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))


@contextmanager
def _opened(video: Video) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container of a video and its pictures; whatever goes wrong inside is a DataError that names the file."""
    if not video.path.is_file():
        raise DataError(f"no video at {video.path}.")
    # As an absolute path, no name can be taken for the address of another protocol.
    path, options = str(video.path.absolute()), CONTAINERS
    try:
        if video.size is not None:
            if _header(video).size != video.size:
                raise ValueError("the shard has changed since its index was made: delete the index")
            path, options = f"subfile,,start,{video.start},end,{video.start + video.size},,:{path}", MEMBERS
        with av.open(path, options=options) as container:
            if not container.streams.video:
                kinds = ", ".join(s.type for s in container.streams) or "an empty container"
                raise DataError(f"{video.name} has no pictures, only {kinds}.")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise DataError(f"{video.name} holds pictures in a code that is not known here; convert it to H.264.")
            # One thread per file: clips are decoded by many processes at once.
            stream.codec_context.thread_count = 1
            yield container, stream
    except (OSError, av.error.FFmpegError, tarfile.TarError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{video.name} cannot be read as video ({reason}); it is empty, cut short or damaged. "
                        "Make or copy it anew.") from None


def _header(member: Video) -> tarfile.TarInfo:
    """The header of a shard's member, which stands right before its bytes."""
    with member.path.open("rb") as shard:
        shard.seek(member.start - tarfile.BLOCKSIZE)
        return tarfile.TarInfo.frombuf(shard.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")


def _read(video: Video, fps: float, size: int, start_s: float, frames: int | None, strict: bool) -> np.ndarray:
    scaler = VideoReformatter()
    for lead_s in (0.0, LEAD_S, np.inf):
        begin_s = max(0.0, start_s - lead_s)
        with _opened(video) as (container, stream):
            timed = _timed(container, stream, begin_s)
            first = next(timed, None)
            if begin_s and (first is None or first[0] > start_s + TICK_S):
                continue
            timed = itertools.chain([first] if first else [], timed)
            pictures = _nearest(_whole(timed) if strict else timed, fps, start_s, frames)
            clip = [_square(frame, size, scaler) for frame in pictures]
        break
    if not clip:
        raise DataError(f"{video.name} has no frame at {start_s:g} s or later.")
    return np.stack(clip)


def _last_packet(container: InputContainer, stream: VideoStream, seek: bool) -> tuple[float, float, float] | None:
    """Times of the first picture, of the last one, and of the end of the last one, in the file's own seconds."""
    tick, avi = float(stream.time_base or 0), container.format.name == "avi"
    start = stream.start_time if stream.start_time is not None else _stamp(next(container.demux(stream)), avi)
    if start is None or not tick:
        return None
    if seek:
        length = stream.duration or (container.duration or 0) / av.time_base / tick
        container.seek(int(start + length), stream=stream, backward=True)
    last = end = None
    for packet in container.demux(stream):
        stamp = _stamp(packet, avi)
        if stamp is None or packet.is_discard:
            continue
        if packet.is_corrupt and container.format.name != "mpegts":
            raise ValueError("its last pictures are cut short")
        if last is None or stamp > last:
            last, end = stamp, stamp + (packet.duration or 0)
    return None if last is None or end is None else (start * tick, last * tick, end * tick)


def _stamp(packet: Packet, avi: bool) -> int | None:
    """When a packet is shown. AVI keeps no presentation times: with B-frames its pts are wrong."""
    return packet.dts if avi or packet.pts is None else packet.pts


def _timed(container: InputContainer, stream: VideoStream, start_s: float) -> Iterator[tuple[float, VideoFrame]]:
    """Decoded frames with their times in seconds after the video's first frame, beginning at or shortly before start_s."""
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


def _whole(timed: Iterator[tuple[float, VideoFrame]]) -> Iterator[tuple[float, VideoFrame]]:
    """The same frames; ValueError at the first one that the decoder had to make up in part, since later ones build on it."""
    for time, frame in timed:
        if frame.is_corrupt:
            raise ValueError(f"its pictures are damaged at {time:.2f} s")
        yield time, frame


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
    """The middle square of a frame as RGB (size, size, 3) uint8, averaged over the area of each new pixel, turned as it is to be shown."""
    short = min(frame.width, frame.height)
    width, height = (max(size, round(side * size / short)) for side in (frame.width, frame.height))
    image = scaler.reformat(frame, width=width, height=height, format="rgb24", interpolation=Interpolation.AREA, threads=1).to_ndarray()
    top, left = (height - size) // 2, (width - size) // 2
    # A phone that is held upright films lying down and notes in the header how far to turn: both count counterclockwise.
    return np.ascontiguousarray(np.rot90(image[top : top + size, left : left + size], round(frame.rotation / 90)))
