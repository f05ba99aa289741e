"""`python -m benchmarks.decoding`: how like the true frames are the pictures that a checkpoint's decoder makes?

Of every clip the pictures of frames 1, 2, ... are compared with the frames themselves: decoded from their own features (`decoded`) and
from those that the world model predicts one step ahead with inferred latents (`predicted`). Beside them what needs no decoder: the mean
image of all other clips, the frame before, and the frame of any other clip whose features are nearest. Give video that nothing was
trained on, as `python -m envs.wild --seed 1000000` renders, or with --held-out the folders of the training, of which the clips that
training leaves out are taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from skimage.metrics import structural_similarity
from tqdm import tqdm

from benchmarks.options import guarded, positive_int
from benchmarks.run import Run
from lamplan.errors import DataError
from lamplan.lam import LatentActionModel
from lamplan.models.decoder import Decoder
from lamplan.report import Results
from lamplan.report.panels import nearest_frames, side_by_side
from lamplan.report.results import describe_device
from lamplan.train.data import ClipStore, frame_store, held_out_every
from lamplan.train.perceptual import Distance, lpips_distance
from lamplan.video import write_video

ROUNDING = 1 / 12  # mean squared error of 8 bits: a smaller one is none, and its PSNR not infinite
FILMED = 4  # clips of a folder in its video


def psnr(image: np.ndarray, true: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 images in dB, at most that of rounding, 58.9."""
    squared = np.square(image.astype(np.float64) - true).mean()
    return float(10 * np.log10(255**2 / max(squared, ROUNDING)))


def ssim(image: np.ndarray, true: np.ndarray) -> float:
    """Structural similarity of two uint8 images (H, W, 3) with the window and constants of Wang et al. 2004, mean of the colours."""
    return float(structural_similarity(image, true, channel_axis=-1, data_range=255, gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False))


def mean_of_others(clips: list[np.ndarray]) -> list[np.ndarray]:
    """For every clip (T, H, W, 3) the mean image (H, W, 3) uint8 of all others' frames."""
    sums = np.stack([clip.sum(axis=0, dtype=np.float64) for clip in clips])
    counts = np.array([len(clip) for clip in clips])
    return [np.round((sums.sum(0) - own) / (counts.sum() - count)).astype(np.uint8) for own, count in zip(sums, counts, strict=True)]


def nearest_of_others(features: list[np.ndarray], clips: list[np.ndarray], index: int, wanted: np.ndarray) -> np.ndarray:
    """Frames (K, H, W, 3) of the clips other than `index` whose features are nearest to wanted ones (K, P, D)."""
    bank, frames = (np.concatenate([one for i, one in enumerate(each) if i != index]) for each in (features, clips))
    return frames[nearest_frames(wanted, bank)]


@torch.inference_mode()
def pictures(lam: LatentActionModel, decoder: Decoder, store: ClipStore,
             chosen: np.ndarray) -> tuple[list[np.ndarray], list[dict[str, np.ndarray]]]:
    """The true frames 1.. (T, H, W, 3) of the chosen clips (by number), and what stands in for them by the rows' names."""
    step, longest = lam.config.encoder.step_frames, lam.config.world_model.max_frames
    lengths = np.minimum(np.diff(store.starts) // step, longest + 1) * step
    videos = [store.read(store.starts[i : i + 1], lengths[i]) for i in chosen if lengths[i] >= 2 * step]
    if len(videos) < 2:
        raise DataError("a folder needs two clips of two steps at least: one is compared with what the others show.")
    clips = [video[0, step - 1 :: step].numpy() for video in videos]
    encoded = [lam.encoder.clip(video.to(lam.encoder.pixel_mean.device)) for video in tqdm(videos, desc="encode", unit="clip")]
    features, means = [s[0].cpu().numpy() for s in encoded], mean_of_others(clips)
    rows = []
    for i, s in enumerate(tqdm(encoded, desc="decode", unit="clip")):
        predicted = lam.world_model(s[:, :-1], lam.infer(s[:, :-1], s[:, 1:]))
        # Frame by frame, as a planner's predictions come.
        rows.append({"decoded": decoder.decode(s[0, 1:]).cpu().numpy(), "predicted": decoder.decode(predicted[0]).cpu().numpy(),
                     "mean_image": np.broadcast_to(means[i], clips[i][1:].shape), "previous_frame": clips[i][:-1],
                     "nearest_frame": nearest_of_others(features, clips, i, features[i][1:])})
    return [clip[1:] for clip in clips], rows


def add_rows(results: Results, task: str, true: list[np.ndarray], rows: list[dict[str, np.ndarray]], lpips: Distance | None) -> None:
    """PSNR, SSIM and, if asked for, LPIPS of every row: the mean over a clip's frames, clip by clip."""
    for name in rows[0]:
        pairs = [(row[name], clip) for row, clip in zip(rows, true, strict=True)]
        for metric, unit, measure in (("PSNR", "dB", psnr), ("SSIM", "1", ssim)):
            each = [np.mean([measure(*pair) for pair in zip(*clip, strict=True)]) for clip in pairs]
            results.add(name, task, metric, unit, np.array(each))
        if lpips is not None:
            values = [lpips(*(torch.from_numpy(np.ascontiguousarray(side)) / 255 for side in clip)).mean().item() for clip in pairs]
            results.add(name, task, "LPIPS", "1", np.array(values))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of held-out video, each a task of the table")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/wild-small"))
    parser.add_argument("--held-out", action="store_true", help="of each folder only the clips that training on it leaves out")
    parser.add_argument("--clips", type=positive_int, default=24, help="clips of a folder at most, spread over it")
    parser.add_argument("--lpips", action="store_true", help="measure LPIPS too (its weights: python -m lamplan.train.lpips_weights)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json, plots, videos and report.html")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(argv)
    lpips = lpips_distance("cpu") if args.lpips else None
    lam, decoder = LatentActionModel.load(args.checkpoint).to(args.device), Decoder.load(args.checkpoint).to(args.device)
    run = Run(Results.begin("decoding", args.seed, describe_device(args.device), argv), args.out, batch=1)
    config = lam.config.encoder
    for folder in args.data:
        store = frame_store(folder, args.cache, config.image_size, lam.config.rate_hz * config.step_frames)
        every = held_out_every(len(store.starts) - 1) if args.held_out else 1
        clips = np.arange(every - 1, len(store.starts) - 1, every)
        chosen = clips[np.linspace(0, len(clips) - 1, min(args.clips, len(clips))).astype(int)]
        true, rows = pictures(lam, decoder, store, chosen)
        add_rows(run.results, folder.name, true, rows, lpips)
        run.keep()
        run.videos.append(film(args.out / "videos" / f"{folder.name}.mp4", true, rows, lam.config.rate_hz))
    run.finish()


def film(path: Path, true: list[np.ndarray], rows: list[dict[str, np.ndarray]], rate_hz: float) -> Path:
    """True | decoded | predicted | nearest of the first clips."""
    shown = ("decoded", "predicted", "nearest_frame")
    write_video(path, np.stack([side_by_side({"true": frame, **{name: row[name][t] for name in shown}}, footer=f"clip {i}")
                                for i, (clip, row) in enumerate(zip(true[:FILMED], rows, strict=False))
                                for t, frame in enumerate(clip)]), rate_hz)
    return path


if __name__ == "__main__":
    guarded(main)
