"""Makes the moving picture of README.md out of benchmark videos: python -m tools.readme_picture OUT.gif VIDEO [VIDEO ...]

The videos are shown one above another, as wide as the widest; one that is over stands still until the longest has ended.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import av
import av.error
import numpy as np
from PIL import Image

LAST_FRAME_S = 1.5  # how long the end is seen before the picture begins again
COLOURS = 128


def read(path: Path) -> tuple[np.ndarray, float]:
    """All frames (T, H, W, 3) uint8 of a video, and their rate in Hz."""
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        return frames, float(container.streams.video[0].average_rate or 4)


def stacked(videos: list[np.ndarray]) -> np.ndarray:
    """Frames (T, sum of H, widest W, 3) of videos (T, H, W, 3), one above another on white."""
    frames, width = max(len(video) for video in videos), max(video.shape[2] for video in videos)
    rows = []
    for video in videos:
        video = np.concatenate([video, np.repeat(video[-1:], frames - len(video), axis=0)])
        rows.append(np.pad(video, ((0, 0), (0, 0), (0, width - video.shape[2]), (0, 0)), constant_values=255))
    return np.concatenate(rows, axis=1)


def write(path: Path, frames: np.ndarray, rate_hz: float, scale: float = 1.0) -> None:
    """An animated GIF of frames (T, H, W, 3) uint8 that goes round for ever."""
    size = (round(frames.shape[2] * scale), round(frames.shape[1] * scale))
    images = [Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS).quantize(COLOURS, dither=Image.Dither.NONE) for frame in frames]
    durations = [round(1000 / rate_hz)] * (len(images) - 1) + [round(1000 * LAST_FRAME_S)]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    images[0].save(unfinished, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    os.replace(unfinished, path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the GIF to write")
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the picture, as a share of the videos'")
    options = parser.parse_args(arguments)
    try:
        videos, rates = zip(*(read(path) for path in options.videos), strict=True)
    except (OSError, ValueError, av.error.FFmpegError) as error:
        print(f"readme_picture: one of {', '.join(map(str, options.videos))} cannot be read as video: {error}", file=sys.stderr)
        return 2
    write(options.out, stacked(list(videos)), rates[0], options.scale)
    print(f"{options.out}: {options.out.stat().st_size / 2**20:.2f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
