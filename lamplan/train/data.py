"""Frames and features of a folder of video, decoded or encoded once and then read at random from disk."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor
from tqdm import tqdm

from lamplan.errors import DataError
from lamplan.models.encoder import Encoder
from lamplan.models.streaming import CAUSAL_FRAMES, stream_features
from lamplan.video import find_videos, read_clip
from lamplan.weights import module_fingerprint

VALIDATION_SHARE = 0.04


@dataclass(frozen=True)
class ClipStore:
    """Consecutive frames: `data` (N, ...) on disk or in a device's memory, clip i being rows `starts[i]` to `starts[i + 1]`."""

    data: np.ndarray | Tensor
    starts: np.ndarray

    def to(self, device: str) -> ClipStore:
        """The same in the memory of an accelerator, which would otherwise wait for the disk; on the CPU itself."""
        return self if device == "cpu" else ClipStore(torch.from_numpy(np.array(self.data)).to(device), self.starts)

    def split(self, length: int, validation: bool) -> np.ndarray:
        """First rows of every window of `length` frames, of the clips held out for validation or of the others.

        Which clips are held out depends on their number alone; of a folder with fewer than 25 clips it is the last one.
        """
        count = len(self.starts) - 1
        every = min(count, round(1 / VALIDATION_SHARE))
        wanted = [i for i in range(count) if (i % every == every - 1) == validation]
        windows = [np.arange(self.starts[i], self.starts[i + 1] - length + 1) for i in wanted]
        return np.concatenate(windows) if windows else np.empty(0, dtype=np.int64)

    def read(self, first_rows: np.ndarray, length: int, stride: int = 1) -> Tensor:
        """Windows (len(first_rows), length, ...) of every `stride`-th frame as a tensor."""
        if isinstance(self.data, Tensor):
            rows = torch.from_numpy(np.asarray(first_rows))[:, None] + stride * torch.arange(length)
            return self.data[rows.to(self.data.device)]
        return torch.from_numpy(np.stack([self.data[row : row + (length - 1) * stride + 1 : stride] for row in first_rows]))


class Sampler:
    """Draws windows from several stores by stated shares; the draw of a step depends on seed and step alone.

    All windows of a step take every k-th frame, with the same k drawn between 1 and `max_stride`.
    """

    def __init__(self, stores: list[ClipStore], shares: list[float], length: int, seed: int, where: str, max_stride: int = 1) -> None:
        self.stores, self.length, self.seed = stores, length, seed
        self.windows = [[store.split((length - 1) * stride + 1, validation=False) for store in stores]
                        for stride in range(1, max_stride + 1)]
        if any(len(windows) == 0 for windows in self.windows[-1]):
            raise DataError(f"{where}: no clip is long enough for windows of {(length - 1) * max_stride + 1} frames (beside the clips "
                            "held out for validation); give longer or more videos.")
        self.shares = np.asarray(shares) / np.sum(shares)

    def draw(self, step: int, batch: int) -> Tensor:
        """(batch, length, ...) windows of step `step`."""
        rng = np.random.default_rng((self.seed, step))
        counts = rng.multinomial(batch, self.shares)
        stride = 1 + int(rng.integers(len(self.windows))) if len(self.windows) > 1 else 1
        parts = [store.read(windows[rng.integers(len(windows), size=count)], self.length, stride)
                 for store, windows, count in zip(self.stores, self.windows[stride - 1], counts, strict=True) if count]
        with torch.autocast(parts[0].device.type, enabled=False):  # which on the CPU does not know float16
            return torch.cat(parts)


def validation_windows(store: ClipStore, length: int, count: int) -> Tensor:
    """Up to `count` windows of the held-out clips, evenly spread, always the same ones."""
    rows = store.split(length, validation=True)
    if len(rows) == 0:
        raise DataError(f"the clips held out for validation are shorter than {length} frames: give longer or more videos.")
    return store.read(rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)], length)


def frame_store(folder: Path, cache: Path, size: int, fps: float) -> ClipStore:
    """All videos under `folder` as uint8 frames (N, size, size, 3), sampled at `fps` by their own timestamps.

    A video that cannot be read is named in a warning and left out; if none can, that is an error. The frames are kept
    under `cache`, so that a second run starts at once.
    """
    videos = find_videos(folder)
    key = json.dumps([[str(v.relative_to(folder)), v.stat().st_size] for v in videos] + [size, fps])
    target = cache / f"frames-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if not (target / "starts.npy").exists():
        target.mkdir(parents=True, exist_ok=True)
        _decode(videos, folder, target, size, fps)
    return _open(target, "frames.npy")


def _decode(videos: list[Path], folder: Path, target: Path, size: int, fps: float) -> None:
    starts, bad = [0], []
    with (target / "frames.tmp").open("wb") as raw:
        for video in tqdm(videos, desc=f"decode {folder.name}", unit="video", dynamic_ncols=True):
            try:
                frames = read_clip(video, fps=fps, size=size)
            except DataError as error:
                bad.append(str(error))
                continue
            raw.write(np.ascontiguousarray(frames).tobytes())
            starts.append(starts[-1] + len(frames))
    if len(starts) == 1:
        raise DataError(f"none of the {len(videos)} videos under {folder} can be read; the first: {bad[0]}")
    if bad:
        warnings.warn(f"{len(bad)} of {len(videos)} videos under {folder} were left out; the first: {bad[0]}", stacklevel=3)
    flat = np.memmap(target / "frames.tmp", dtype=np.uint8, mode="r", shape=(starts[-1], size, size, 3))
    _commit(target, "frames.npy", flat, starts)
    (target / "frames.tmp").unlink()


def feature_store(frames: ClipStore, encoder: Encoder, cache: Path, name: str, batch: int = 64) -> ClipStore:
    """Standardised features (N, P, D) of a store of frames, float16, encoded once and kept under `cache`.

    N is the number of frames, or of pairs in the modes that pair them; there no pair spans two clips, and in mode `causal` each clip
    is cut into windows of 16 frames, the paper's clip, within which a step sees the ones before it.
    """
    config, mode = encoder.config, encoder.config.mode
    video = Path(str(getattr(frames.data, "filename", name))).parent.name
    target = cache / f"features-{module_fingerprint(encoder)}-{video}{'' if mode == 'doubled' else '-' + mode}"
    if not (target / "starts.npy").exists():
        target.mkdir(parents=True, exist_ok=True)
        lengths = -(-np.diff(frames.starts) // config.step_frames)
        starts = [0, *np.cumsum(lengths).tolist()]
        # Frames that are encoded by themselves go through in full batches, over the borders of clips.
        runs = [(0, len(frames.data))] if mode == "doubled" else list(pairwise(frames.starts.tolist()))
        features = open_memmap(target / "features.tmp.npy", mode="w+", dtype=np.float16, shape=(starts[-1], config.side**2, config.width))
        row, chunk = 0, CAUSAL_FRAMES if mode == "causal" else batch
        with tqdm(total=starts[-1], desc=f"encode {name}", unit="step", dynamic_ncols=True) as bar:
            for first, last in runs:
                for part in stream_features(encoder, frames.data[first:last], chunk):
                    features[row : row + len(part)] = part.half().cpu().numpy()
                    row += len(part)
                    bar.update(len(part))
        features.flush()
        os.replace(target / "features.tmp.npy", target / "features.npy")
        _write_starts(target, starts)
    return _open(target, "features.npy")


def _commit(target: Path, name: str, data: np.ndarray, starts: list[int]) -> None:
    copy = open_memmap(target / ("tmp-" + name), mode="w+", dtype=data.dtype, shape=data.shape)
    for row in range(0, len(data), 1024):
        copy[row : row + 1024] = data[row : row + 1024]
    copy.flush()
    os.replace(target / ("tmp-" + name), target / name)
    _write_starts(target, starts)


def _write_starts(target: Path, starts: list[int]) -> None:
    # Written last: its presence says that the store is whole.
    np.save(target / "tmp-starts.npy", np.asarray(starts, dtype=np.int64))
    os.replace(target / "tmp-starts.npy", target / "starts.npy")


def _open(target: Path, name: str) -> ClipStore:
    return ClipStore(np.load(target / name, mmap_mode="r"), np.load(target / "starts.npy"))
