"""The videos of a LeRobot data set: one per episode while recording, then many episodes joined in one file without coding anew."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lamplan.logs.lerobot_files import write_file

# H.264 at a quality that the eye does not tell from the original, in the colour format that every player and web page shows. A key frame
# every 10 and no frame that waits for a later one: any step is found by decoding at most 10.
PIXELS = "yuv420p"
OPTIONS = {"crf": "18", "g": "10", "bf": "0"}


def frame_rate(rate_hz: float) -> Fraction:
    return Fraction(rate_hz).limit_denominator(1000)


def encode(path: Path, images: np.ndarray, rate_hz: float) -> None:
    """Writes images (T, H, W, 3) uint8 as an MP4 whose frame k is shown at k / rate_hz. Odd sizes gain a repeated row or column."""
    images = np.pad(images, ((0, 0), (0, images.shape[1] % 2), (0, images.shape[2] % 2), (0, 0)), mode="edge")
    with av.open(str(path.absolute()), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=frame_rate(rate_hz), options=OPTIONS)
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], PIXELS
        stream.codec_context.thread_count = 1
        for step, image in enumerate(images):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = step, 1 / frame_rate(rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def join_videos(target: Path, parts: Sequence[Path], lengths: Sequence[int], rate_hz: float) -> None:
    """Writes the videos one behind the other, each of `lengths` frames; their coded frames are copied as they are."""
    write_file(target, lambda unfinished: _join(unfinished, parts, lengths, rate_hz))


def _join(target: Path, parts: Sequence[Path], lengths: Sequence[int], rate_hz: float) -> None:
    with av.open(str(target.absolute()), "w", format="mp4", options={"movflags": "faststart"}) as joined:
        stream: VideoStream | None = None
        done = 0
        for part, length in zip(parts, lengths, strict=True):
            with av.open(str(part.absolute())) as source:
                video = source.streams.video[0]
                stream = stream or joined.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue  # The empty packet that ends a file.
                    shift = round(done / frame_rate(rate_hz) / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    joined.mux(packet)
            done += length
