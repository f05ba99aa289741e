"""The videos of a LeRobot data set: those of single episodes joined in one file without coding anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
from av.video.stream import VideoStream

from lamplan.files import whole_file
from lamplan.video import frame_rate


def join_videos(target: Path, parts: Sequence[Path], lengths: Sequence[int], rate_hz: float) -> None:
    """Writes the videos one behind the other, each of `lengths` frames; their coded frames are copied as they are."""
    with whole_file(target) as unfinished:
        _join(unfinished, parts, lengths, rate_hz)


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
