"""`python -m benchmarks.streaming`: a long video from its file through an encoder, and the memory that this takes.

Features are counted and let go, chunk after chunk, as a store on disk does with them; what they would take if all were kept is a row of
its own, with the whole video's scaled up from the part that was encoded. Memory is that of the process at its highest: after the first
minute of video (or the first chunk, if that is longer), and at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.machine import peak_gib
from benchmarks.options import add_timing_options, guarded, positive_int
from benchmarks.run import Run
from lamplan.lam import LatentActionModel
from lamplan.models.encoder import Encoder
from lamplan.models.streaming import CAUSAL_FRAMES, stream_features
from lamplan.models.vjepa2 import ENCODERS, encoder_config
from lamplan.precision import PRECISIONS, Precision
from lamplan.report.results import Results, describe_device
from lamplan.train.timing import now
from lamplan.video import stream_clip, write_video


def make_video(path: Path, frames: int, fps: float, size: int, seed: int) -> None:
    """Writes a video of a texture that pans."""
    scene = np.random.default_rng(seed).integers(0, 256, (size // 8, size // 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    write_video(path, np.stack([np.roll(scene, t, axis=1)[:, :size] for t in range(frames)]), fps)


def new_encoder(name: str, checkpoint: Path, seed: int) -> Encoder:
    """The encoder of a checkpoint, or one of a released encoder's sizes with random weights, which change nothing about the work."""
    if name == "checkpoint":
        return LatentActionModel.load(checkpoint).encoder
    torch.manual_seed(seed)
    return Encoder(encoder_config(name)).eval().requires_grad_(False)


def measure(encoder: Encoder, frames: Iterator[np.ndarray], first: int, chunk: int, precision: Precision, name: str, run: Run) -> None:
    """Adds the rows of a video's frames, `first` of them being a minute."""
    device, step, seen, early = encoder.pixel_mean.device, encoder.config.step_frames, 0, 0.0
    began = now(device)
    with tqdm(desc=name, unit="frame", dynamic_ncols=True) as bar:
        for part in stream_features(encoder, frames, chunk, precision):
            seen += step * len(part)
            if seen <= first or not early:
                early = peak_gib(device)
            bar.update(step * len(part))
    spent = now(device) - began
    for metric, unit, value in (
            ("frames", "1", seen), ("rate", "frames/s", seen / spent.wall), ("busy_rate", "frames/s", seen / spent.busy),
            ("peak, first minute", "GiB", early), ("peak, end", "GiB", peak_gib(device))):
        run.results.add(name, "streaming", metric, unit, np.array([value]))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=["checkpoint", *ENCODERS], default="checkpoint",
                        help="the checkpoint's, or a released one's sizes with random weights")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/wild-small"))
    parser.add_argument("--minutes", type=float, default=60.0, help="of video (default: 60)")
    parser.add_argument("--frames", type=positive_int, help="encode only so many of its frames, from the beginning")
    parser.add_argument("--fps", type=float, default=4.0)
    parser.add_argument("--chunk", type=positive_int, default=CAUSAL_FRAMES, help="frames encoded at once (default: 16)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    add_timing_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    encoder = new_encoder(args.encoder, args.checkpoint, args.seed).to(args.device)
    config, name = encoder.config, args.encoder if args.encoder != "checkpoint" else args.checkpoint.name
    run = Run(Results.begin("streaming", args.seed, describe_device(args.device), argv, precision=args.precision, chunk=args.chunk,
                            threads=torch.get_num_threads(), **({"note": args.note} if args.note else {})), args.out, 1)
    count = args.frames or round(60 * args.minutes * args.fps)
    video = args.out / f"{count}-frames-{config.image_size}.mp4"
    if not video.exists():
        args.out.mkdir(parents=True, exist_ok=True)
        # In a process of its own: the writer holds all frames, which must not count as the reader's memory.
        made = (video, count, args.fps, config.image_size, args.seed)
        writer = multiprocessing.get_context("spawn").Process(target=make_video, args=made)
        writer.start()
        writer.join()
    measure(encoder, stream_clip(video, args.fps, config.image_size), round(60 * args.fps), args.chunk, args.precision, name, run)
    whole = 60 * args.minutes * args.fps / config.step_frames * config.side**2 * config.width
    run.results.add(name, "streaming", f"features of {args.minutes:g} min, fp16", "GiB", np.array([2 * whole / 2**30]))
    run.finish()


if __name__ == "__main__":
    guarded(main)
