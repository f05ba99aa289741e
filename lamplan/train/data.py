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

from lamplan.corpus import Corpus, open_corpus
from lamplan.errors import DataError
from lamplan.models.encoder import Encoder
from lamplan.models.streaming import CAUSAL_FRAMES, stream_features
from lamplan.video import read_clip
from lamplan.weights import module_fingerprint

VALIDATION_SHARE = 0.04


@dataclass(frozen=True)
class ClipStore:
    """Consecutive frames: `data` (N, ...) on disk or in a device's memory, clip i being rows `starts[i]` to `starts[i + 1]`."""

    data: np.ndarray | Tensor
    starts: np.ndarray

    @property
    def weight(self) -> float:
        """Its share of the clips, before any other rule."""
        return float(len(self.data))

    def describe(self) -> str:
        return f"{len(self.data)} frames in {len(self.starts) - 1} clips"

    def identity(self) -> str:
        """What tells it from frames of other videos, size or rate: the name of the folder on disk, see `frame_store`."""
        return Path(str(getattr(self.data, "filename", ""))).parent.name

    def to(self, device: str) -> ClipStore:
        """The same in the memory of an accelerator, which would otherwise wait for the disk; on the CPU itself."""
        return self if device == "cpu" else ClipStore(torch.from_numpy(np.array(self.data)).to(device), self.starts)

    def split(self, length: int, validation: bool) -> np.ndarray:
        """First rows of every window of `length` frames, of the clips held out for validation or of the others.

        Which clips are held out depends on their number alone; of a folder with fewer than 25 clips it is the last one.
        """
        count = len(self.starts) - 1
        every = held_out_every(count)
        wanted = [i for i in range(count) if (i % every == every - 1) == validation]
        windows = [np.arange(self.starts[i], self.starts[i + 1] - length + 1) for i in wanted]
        return np.concatenate(windows) if windows else np.empty(0, dtype=np.int64)

    def read(self, first_rows: np.ndarray, length: int, stride: int = 1) -> Tensor:
        """Windows (len(first_rows), length, ...) of every `stride`-th frame as a tensor."""
        if isinstance(self.data, Tensor):
            rows = torch.from_numpy(np.asarray(first_rows))[:, None] + stride * torch.arange(length)
            return self.data[rows.to(self.data.device)]
        return torch.from_numpy(np.stack([self.data[row : row + (length - 1) * stride + 1 : stride] for row in first_rows]))

    def validation(self, length: int, count: int) -> Tensor:
        """Up to `count` windows of the held-out clips, evenly spread, always the same ones."""
        return self._even(length, count, validation=True)

    def training(self, length: int, count: int) -> Tensor:
        """The same of the other clips."""
        return self._even(length, count, validation=False)

    def _even(self, length: int, count: int, validation: bool) -> Tensor:
        rows = self.split(length, validation)
        if len(rows) == 0:
            clips = "the clips held out for validation" if validation else "the clips beside those held out for validation"
            raise DataError(f"{clips} are shorter than {length} frames: give longer or more videos.")
        return self.read(rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)], length)


def held_out_every(count: int) -> int:
    """Of `count` clips or videos each one of this many, the last of them, is held out for validation."""
    return min(count, round(1 / VALIDATION_SHARE))


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
        chosen = [windows[rng.integers(len(windows), size=count)] if count else windows[:0]
                  for windows, count in zip(self.windows[stride - 1], counts, strict=True)]
        read = [store.read(rows, self.length, stride) for store, rows in zip(self.stores, chosen, strict=True) if len(rows)]
        with torch.autocast(read[0].device.type, enabled=False):  # which on the CPU does not know float16
            return torch.cat(read)


def frame_store(path: Path, cache: Path, size: int, fps: float) -> ClipStore:
    """All videos of a folder, a list or shards as uint8 frames (N, size, size, 3), sampled at `fps` by their own timestamps.

    A video that cannot be read is named in a warning and left out; if none can, that is an error. The frames are kept
    under `cache`, so that a second run starts at once.
    """
    corpus = open_corpus(path, cache)
    key = json.dumps([*corpus.key(), size, fps])
    target = cache / f"frames-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if not (target / "starts.npy").exists():
        target.mkdir(parents=True, exist_ok=True)
        _decode(corpus, path, target, size, fps)
    return _open(target, "frames.npy")


def _decode(corpus: Corpus, path: Path, target: Path, size: int, fps: float) -> None:
    starts, bad = [0], [reason for _, reason in corpus.problems]
    with (target / "frames.tmp").open("wb") as raw:
        for i in tqdm(range(len(corpus)), desc=f"decode {path.name}", unit="video", dynamic_ncols=True):
            try:
                frames = read_clip(corpus[i], fps=fps, size=size)
            except DataError as error:
                bad.append(str(error))
                continue
            raw.write(np.ascontiguousarray(frames).tobytes())
            starts.append(starts[-1] + len(frames))
    if len(starts) == 1:
        raise DataError(f"none of the {len(corpus)} videos under {path} can be read; the first: {bad[0]}")
    if bad:
        warnings.warn(f"{len(bad)} of {len(corpus)} videos under {path} were left out; the first: {bad[0]}", stacklevel=3)
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
