"""Files that a corpus of ordinary video holds in real life, each bad in its own way, and odd ones that are good."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from lamplan.video import write_video
from tests import tiny

BAD = ("corrupt", "empty", "one-frame", "not-a-video", "sound", "truncated", "truncated-end", "too-short")


def spoil(folder: Path, kind: str, rng: np.random.Generator) -> Path:
    """Writes `folder/KIND.mp4`."""
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "not-a-video":
        path.write_text("#EXTM3U\n#EXTINF:1,\nclip.mp4\n")
    elif kind == "sound":
        write_sound(path)
    else:
        write_video(path, tiny.drive(rng, {"one-frame": 1, "too-short": 2}.get(kind, 24))[0], 4.0)
        content = np.frombuffer(path.read_bytes(), np.uint8).copy()
        data = content.tobytes().index(b"mdat") + 4
        if kind == "corrupt":
            content[data + 800 :] = rng.integers(0, 256, len(content) - data - 800)
        if kind == "truncated":
            content = content[: data + (len(content) - data) // 2]
        if kind == "truncated-end":  # without its last tenth and half of the picture before it: cut between two it would only be short
            with av.open(str(path)) as container:
                spans = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
            end = len(content) - (len(content) - data) // 10
            start, size = max(span for span in spans if span[0] < end)
            content = content[: start + size // 2]
        path.write_bytes(content.tobytes())
    return path


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_uneven(path: Path, frames: np.ndarray, times_s: list[float]) -> None:
    """A video of variable rate: frames (T, H, W, 3) at the given times, under a header that claims 30 Hz."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "10"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(frames, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
