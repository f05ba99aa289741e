"""How fast logs are read: `python -m benchmarks.log_loading --out runs/log_loading`.

Random windows of 8 frames at 4 Hz out of a 640 x 480 H.264 video, against the time that PyAV needs to seek to the same frame and to
decode to the last one, converting nothing; and the time to open a log of very many episodes. Video and log are synthetic.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from benchmarks.options import guarded, positive_int
from lamplan.logs import film, open_log
from lamplan.report import Results, table
from lamplan.report.results import describe_device

WIDTH, HEIGHT, RATE_HZ = 640, 480, 30
FRAMES, WINDOW_HZ = 8, 4.0
# Frames from one key frame to the next: x264's own choice, and a common one for robots.
KEY_DISTANCES = (250, 30)
EPISODES_A_FOLDER = 1_000
OPENINGS = 5


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.log_loading", description=__doc__,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--episodes", type=positive_int, default=100_000, help="episodes of the log that is opened")
    parser.add_argument("--windows", type=positive_int, default=60, help="random windows of each video")
    parser.add_argument("--seconds", type=positive_int, default=40, help="length of the videos")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    args = parser.parse_args(argv)
    if args.quick:
        args.episodes, args.windows, args.seconds = (max(value // 10, 4) for value in (args.episodes, args.windows, args.seconds))
    results = Results.begin("log_loading", args.seed, describe_device("cpu"), argv, windows=args.windows, seconds=args.seconds,
                            episodes=args.episodes)
    with tempfile.TemporaryDirectory() as scratch:
        for distance in KEY_DISTANCES:
            path = _video(Path(scratch) / f"{distance}.mp4", args.seconds * RATE_HZ, distance, args.seed)
            _windows(results, path, f"keys_every_{distance}", args.windows)
        _opening(results, Path(scratch), args.episodes)
    results.write(args.out)
    print(f"{table(results)}\n\nresults: {args.out / 'results.json'}")


def _video(path: Path, count: int, distance: int, seed: int) -> Path:
    """A noisy picture that moves: as hard to decode as a camera's."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, : 2 * WIDTH]
    scene = 128 + 60 * np.sin(x / 23)[..., None] * np.cos(y / 31)[..., None] + rng.normal(0, 20, (HEIGHT, 2 * WIDTH, 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options={"g": str(distance), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for step in range(count):
            image = np.roll(scene, -3 * step, axis=1)[:, :WIDTH] + rng.normal(0, 4, (HEIGHT, WIDTH, 1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _windows(results: Results, path: Path, task: str, count: int) -> None:
    """Each window by PyAV alone and by the log reader, in turn: in a file just opened and in one that is open.

    Both use one thread, and its own time is measured: other work on the machine does not count.
    """
    times = film.frame_times(path)
    rng = np.random.default_rng(results.seed)
    starts = rng.uniform(0, times[-1] - (FRAMES - 1) / WINDOW_HZ, count)
    windows = [np.abs(times - (start + np.arange(FRAMES) / WINDOW_HZ)[:, None]).argmin(axis=1) for start in starts]
    took: dict[str, list[float]] = {name: [] for name in ("pyav_first", "lamplan_first", "pyav", "lamplan")}
    container, stream = film.open_container(path)
    film.read_frames(path, windows[-1])
    for window in windows:
        took["pyav"].append(_cpu_seconds(partial(_decode, container, stream, times, window)))
        took["lamplan"].append(_cpu_seconds(partial(film.read_frames, path, window)))
    for window in windows:
        took["pyav_first"].append(_cpu_seconds(partial(_open_and_decode, path, times, window)))
        film.forget()
        took["lamplan_first"].append(_cpu_seconds(partial(film.read_frames, path, window)))
    for name, seconds in took.items():
        results.add(name, task, "window", "ms", 1000 * np.array(seconds))
    for name in ("", "_first"):
        results.add(f"lamplan{name}", task, "time_over_pyav", "ratio", np.array(took[f"lamplan{name}"]) / np.mean(took[f"pyav{name}"]))


def _open_and_decode(path: Path, times: np.ndarray, window: np.ndarray) -> None:
    container, stream = film.open_container(path)
    with container:
        _decode(container, stream, times, window)


def _decode(container: InputContainer, stream: VideoStream, times: np.ndarray, window: np.ndarray) -> None:
    tick_s = float(stream.time_base or 1)
    first, last = (times[window[[0, -1]]] / tick_s).round().astype(int) + (stream.start_time or 0)
    container.seek(int(first), stream=stream, backward=True)
    for frame in container.decode(stream):
        if frame.pts is not None and frame.pts >= last:
            return


def _opening(results: Results, scratch: Path, count: int) -> None:
    """A tree of DROID's form, of empty episodes: first without its list of episodes, then with it."""
    root = scratch / "droid"
    for number in range(count):
        folder = root / "lab" / f"day_{number // EPISODES_A_FOLDER}" / f"run_{number}"
        folder.mkdir(parents=True)
        (folder / "trajectory.h5").touch()
    then = time.time() - 60
    for path in (root, root / "lab", *(root / "lab").iterdir()):
        os.utime(path, (then, then))
    with _cache(scratch / "cache"):
        results.add("building_the_list", "open_log", "seconds", "s", np.array([_seconds(lambda: _open(root, count))]))
        results.add("with_the_list", "open_log", "seconds", "s", np.array([_seconds(lambda: _open(root, count)) for _ in range(OPENINGS)]))


def _open(root: Path, count: int) -> None:
    if len(open_log(root)) != count:
        raise RuntimeError(f"the log of {count} episodes was read as {len(open_log(root))}")


def _cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """The user's own cache stays as it is."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


if __name__ == "__main__":
    guarded(main)
