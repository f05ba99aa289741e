"""`python -m benchmarks.loading`: clips per second of the loader alone, beside bare PyAV decoding of the same windows.

In one run and in turns, so that whatever else the machine does falls on both: a single thread that opens, seeks, decodes and
resizes, with nothing around it (`bare`), and the stream that training draws from, with one worker and with all of them,
from single files and from shards. `share` is the loader's rate over that of as many bare threads as it has workers: what is
lost to looking for a file's end, to processes and to waiting.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation

from benchmarks.options import guarded, positive_int
from benchmarks.run import Run
from lamplan.corpus import open_corpus
from lamplan.decoders import default_workers
from lamplan.errors import InputError
from lamplan.report.results import Results, describe_device
from lamplan.shards import shard
from lamplan.train.clips import AHEAD, ClipStream, Streaming
from lamplan.video import Video, duration_s, write_video

HEIGHT, WIDTH, RATE_HZ = 360, 640, 30.0


def make_videos(folder: Path, count: int, seconds: float, seed: int) -> Path:
    """Writes videos of textures that pan and of boxes that move over them, at the size and rate of ordinary web video."""
    for i in range(count):
        path, rng = folder / f"{i:04d}.mp4", np.random.default_rng((seed, i))
        if path.exists():
            continue
        scene = rng.integers(0, 255, (HEIGHT // 8, WIDTH // 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        speed, boxes, moves = int(rng.integers(1, 5)), rng.integers(0, HEIGHT - 60, (4, 2)), rng.integers(-3, 4, (4, 2))
        frames = np.empty((int(seconds * RATE_HZ), HEIGHT, WIDTH, 3), np.uint8)
        for t in range(len(frames)):
            frames[t] = scene[:, (shift := t * speed % WIDTH) : shift + WIDTH]
            for k, (top, left) in enumerate((boxes + t * moves) % (HEIGHT - 60)):
                frames[t, top : top + 60, left : left + 60] = 60 * k
        write_video(path, frames, RATE_HZ)
    return folder


def bare(path: str, start_s: float, frames: int, fps: float, size: int) -> np.ndarray:
    """A window by nothing but PyAV: the frames nearest to its times, the middle square at `size` pixels."""
    images: list[np.ndarray] = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        tick, scale = float(stream.time_base or 0), size / min(stream.height, stream.width)
        container.seek(int(start_s / tick), stream=stream)
        before = None
        for frame in container.decode(stream):
            while len(images) < frames and (target := start_s + len(images) / fps) <= (frame.pts or 0) * tick + 1e-3:
                near = before if before is not None and target - (before.pts or 0) * tick <= (frame.pts or 0) * tick - target else frame
                image = near.reformat(width=round(stream.width * scale), height=round(stream.height * scale), format="rgb24",
                                      interpolation=Interpolation.AREA, threads=1).to_ndarray()
                top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
                images.append(image[top : top + size, left : left + size])
            if len(images) == frames:
                break
            before = frame
    return np.stack(images)


def bare_rate(windows: list[tuple[Video, float]], options: argparse.Namespace) -> float:
    """Clips per second of one bare thread."""
    begun = time.perf_counter()
    for video, start_s in windows:
        bare(str(video.path), start_s, options.frames, options.fps, options.size)
    return len(windows) / (time.perf_counter() - begun)


def loader_rate(data: Path, workers: int, steps: range, options: argparse.Namespace) -> float:
    """Clips per second of a stream that is drawn from as fast as it comes, once its workers and its queue are full."""
    with Streaming(workers=workers) as streaming:
        clips = new_stream(streaming, data, options)
        for step in range(steps.start - AHEAD - 1, steps.start):
            clips.draw(step, options.batch)
        begun = time.perf_counter()
        for step in steps:
            clips.draw(step, options.batch)
        return len(steps) * options.batch / (time.perf_counter() - begun)


def new_stream(streaming: Streaming, data: Path, options: argparse.Namespace) -> ClipStream:
    source = streaming.store(data, options.out / "cache", options.size, options.fps)
    return ClipStream([source], [1.0], options.frames, options.seed, "loading")


def choose(streaming: Streaming, steps: range, options: argparse.Namespace) -> list[tuple[Video, float]]:
    """The very windows that the stream draws in these steps."""
    clips, windows = new_stream(streaming, options.data, options), []
    for step in steps:
        for row in range(options.batch):
            source, _, tries = clips.choices(step, row)
            number, place = next(tries)
            video = source.corpus[number]
            windows.append((video, place * max(0.0, duration_s(video) - (options.frames - 1) / options.fps)))
    return windows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of good video (default: made for this, 640 x 360, 30 Hz)")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json, plots, report.html and what is measured on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=positive_int, default=5, help="rounds, each of which measures all rows (default: 5)")
    parser.add_argument("--steps", type=positive_int, default=4, help="batches of a round (default: 4)")
    parser.add_argument("--batch", type=positive_int, default=16)
    parser.add_argument("--frames", type=positive_int, default=16, help="of a clip (default: 16, the paper's)")
    parser.add_argument("--fps", type=float, default=4.0)
    parser.add_argument("--size", type=positive_int, default=256)
    parser.add_argument("--workers", type=positive_int, default=default_workers(), help="of the rows with all workers (default: the cores)")
    parser.add_argument("--quick", action="store_true", help="2 rounds over a few short videos")
    options = parser.parse_args(arguments)
    if options.quick:
        options.episodes, options.steps, options.batch = 2, 1, 4
    options.data = options.data or make_videos(options.out / "video", *((4, 6.0) if options.quick else (24, 20.0)), options.seed)
    corpus = open_corpus(options.data, options.out / "cache")
    if len(corpus) and (corpus.size >= 0).any():
        raise InputError(f"{options.data} holds shards; give the folder of the videos themselves, which are made into shards here.")
    shard(options.data, options.out / "shards", workers=options.workers)
    facts = {"clip": f"{options.frames} frames at {options.fps:g} Hz, {options.size} px", "videos": len(corpus), "workers": options.workers,
             "batch": options.batch}
    run = Run(Results.begin("loading", options.seed, describe_device("cpu"), arguments, **facts), options.out, options.batch)
    rows = {"loader_1": (options.data, 1), "shards_1": (options.out / "shards", 1), "loader_all": (options.data, options.workers)}
    rates: dict[str, list[float]] = {name: [] for name in ("bare", *rows)}
    with Streaming(workers=1) as streaming:
        for episode in range(options.episodes):
            steps = range(10 + episode * options.steps, 10 + (episode + 1) * options.steps)
            rates["bare"].append(bare_rate(choose(streaming, steps, options), options))
            for name, (data, workers) in rows.items():
                rates[name].append(loader_rate(data, workers, steps, options))
    for name, values in rates.items():
        run.results.add(name, "loading", "rate", "clips/s", np.array(values))
        workers = rows[name][1] if name in rows else 1
        run.results.add(name, "loading", "share", "of bare", np.array(values) / np.array(rates["bare"]) / workers)
    run.finish()


if __name__ == "__main__":
    guarded(main)
