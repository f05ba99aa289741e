"""Clips straight out of video files, decoded while a model trains: for corpora too large to be decoded or encoded beforehand."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lamplan.corpus import Corpus, open_corpus
from lamplan.decoders import Decoder, Decoders
from lamplan.errors import DataError
from lamplan.files import file_bytes
from lamplan.train.data import ClipStore, Sampler, held_out_every

SKIPPED = "skipped.tsv"  # in a run's folder
AHEAD = 2  # steps whose clips are decoded before they are asked for: so many batches lie in memory
MAX_TRIES = 1000  # files that may fail in a row before a corpus is given up
MOST_OF_ONE = 64  # windows of one video in a validation
GOLDEN = 0.618034  # its multiples, modulo 1, are spread evenly
MIN_TRIES = 50  # the same of a corpus with fewer files, at other places in them
SIZED = 1000  # files whose length tells a corpus from another


@dataclass
class Skipped:
    """The files that gave no clip, each with the first reason; `path` gets a line for each, once over all resumptions."""

    path: Path | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    draws: int = 0  # clips of this process that had to come from another file

    def __post_init__(self) -> None:
        if self.path is not None and self.path.exists():
            rows = (line.split("\t", 1) for line in self.path.read_text(encoding="utf-8").splitlines())
            self.reasons |= {row[0]: row[1] for row in rows if len(row) == 2}

    def add(self, failures: list[tuple[str, str]]) -> None:
        new: dict[str, str] = {}
        for name, reason in failures:
            name = name.replace("\n", "\\n").replace("\t", "\\t")
            if name not in self.reasons:
                new.setdefault(name, " ".join(reason.split()))
        self.reasons |= new
        if new and self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.writelines(f"{name}\t{reason}\n" for name, reason in new.items())

    def __str__(self) -> str:
        if not self.reasons:
            return "no video was skipped"
        return f"{len(self.reasons)} videos were skipped at least once ({self.draws} clips drawn again); {self.path or 'they'} names them"


@dataclass(frozen=True)
class Decoded:
    """A clip (T, H, W, 3) uint8, and the (name, reason) of the files that were tried before it."""

    clip: np.ndarray | None
    failures: list[tuple[str, str]]


class Streaming:
    """What all streams of a run share: the decoding processes and the list of skipped files. Use it in a `with` statement."""

    def __init__(self, log: Path | None = None, workers: int | None = None) -> None:
        self.skipped, self.decoders = Skipped(log), Decoders(workers)

    def store(self, path: Path, cache: Path, size: int, fps: float) -> StreamedVideo:
        """The videos of a folder, a list or shards, to be decoded as they are drawn; see `lamplan.corpus.open_corpus`."""
        corpus = open_corpus(path, cache)
        self.skipped.add(corpus.problems)
        return StreamedVideo(self, corpus, size, fps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.decoders.close()


@dataclass(frozen=True)
class StreamedVideo:
    """A corpus as the source of clips: uint8 images of `size` pixels at `fps` Hz."""

    streaming: Streaming
    corpus: Corpus
    size: int
    fps: float

    @property
    def weight(self) -> float:
        return float(len(self.corpus))

    def describe(self) -> str:
        return f"{len(self.corpus)} videos, streamed"

    def identity(self) -> str:
        """What tells it from other videos, size or rate: a short hash of where each lies, and of the length of some files, as to ask
        for that of millions takes hours."""
        corpus, digest = self.corpus, hashlib.sha256()
        for name in corpus.files:
            digest.update(os.fsencode(name) + b"\n")
        for places in (corpus.file, corpus.start, corpus.size):
            digest.update(places.astype(np.int64).tobytes())
        some = np.linspace(0, len(corpus.files) - 1, min(SIZED, len(corpus.files))).astype(int)
        digest.update(repr(([file_bytes(corpus.root / corpus.files[i]) for i in some], self.size, self.fps)).encode())
        return digest.hexdigest()[:16]

    def training_count(self) -> int:
        """Number of videos that are not held out for validation; DataError where there is none."""
        if len(self.corpus) == 1:
            raise DataError(f"{self.corpus.name} holds a single video, which is held out for validation; give more.")
        return len(self.corpus) - len(self.corpus) // held_out_every(len(self.corpus))

    def training_number(self, index: int) -> int:
        """Which video of the corpus is number `index` of those that are not held out."""
        return index + index // (held_out_every(len(self.corpus)) - 1)

    def attempt(self, decoder: Decoder, number: int, place: float, length: int, stride: int = 1) -> Decoded:
        """The window of `length` frames at a place (0 to 1) of a video, every `stride`-th frame; or why there is none."""
        video = self.corpus[number]
        try:
            return Decoded(decoder.window(video, place, length, self.fps / stride, self.size), [])
        except DataError as error:
            return Decoded(None, [(video.name, str(error))])

    def validation(self, length: int, count: int) -> Tensor:
        """Up to `count` windows (count, length, ...) of the held-out videos, spread over them, always the same ones.

        No more than MOST_OF_ONE come from one video, so that a small corpus is not decoded over and over.
        """
        every = held_out_every(len(self.corpus))
        return self._even(len(self.corpus) // every, lambda i: i * every + every - 1, length, count, "held out for validation")

    def training(self, length: int, count: int) -> Tensor:
        """The same of the other videos."""
        return self._even(self.training_count(), self.training_number, length, count, "to train on")

    def _even(self, videos: int, number: Callable[[int], int], length: int, count: int, what: str) -> Tensor:
        chosen = np.linspace(0, videos - 1, min(count, MOST_OF_ONE * videos)).astype(int).tolist()
        work = (partial(self.attempt, number=number(i), place=k * GOLDEN % 1, length=length) for k, i in enumerate(chosen))
        done = list(self.streaming.decoders.map(work))
        failures = [failure for one in done for failure in one.failures]
        clips = [one.clip for one in done if one.clip is not None]
        self.streaming.skipped.add(failures)
        if not clips:
            raise DataError(f"none of the {videos} videos of {self.corpus.name} {what} gives a clip of {length} frames; "
                            f"the last: {failures[-1][1]}")
        return torch.from_numpy(np.stack(clips))


class ClipStream:
    """Draws random windows from several corpora by stated shares, as `Sampler` does from stores, and decodes them as it goes.

    Every video of a corpus is as likely as any other, and every place in it where the window fits. What clip `row` of step
    `step` shows is a function of the seed, the step, the row and the corpora alone: a resumed run, another number of
    workers or another number of processes sees the same clips (but for a file that stalls its decoder on one machine and not
    on another). A file that gives no clip is noted in `skipped` when its clip is drawn, and replaced by another draw.
    `every`: this process asks for each so-many-th step, the others being those of other processes; it decodes ahead accordingly.
    """

    def __init__(self, sources: list[StreamedVideo], shares: list[float], length: int, seed: int, where: str, max_stride: int = 1,
                 every: int = 1) -> None:
        self.every = every
        self.sources, self.length, self.seed, self.where, self.max_stride = sources, length, seed, where, max_stride
        self.streaming, self.shares = sources[0].streaming, np.asarray(shares) / np.sum(shares)
        for source in sources:
            source.training_count()  # now, and not in a thread
        self._waiting: dict[tuple[int, int], Future[Decoded]] = {}

    def draw(self, step: int, batch: int) -> Tensor:
        """(batch, length, ...) windows of step `step`.

        Raises DataError when MAX_TRIES files in a row (or, fewer, all files several times over) give no clip.
        """
        expected = range(step, step + AHEAD * self.every + 1, self.every)
        for key in [key for key in self._waiting if key[0] not in expected]:
            self._waiting.pop(key).cancel()
        for key in [(later, row) for later in expected for row in range(batch)]:
            if key not in self._waiting:
                self._waiting[key] = self.streaming.decoders.submit(partial(self._decode, step=key[0], row=key[1]))
        done = [self._waiting.pop((step, row)).result() for row in range(batch)]
        failures = [failure for one in done for failure in one.failures]
        self.streaming.skipped.add(failures)
        self.streaming.skipped.draws += sum(bool(one.failures) for one in done)
        return torch.from_numpy(np.stack([one.clip for one in done if one.clip is not None]))

    def choices(self, step: int, row: int) -> tuple[StreamedVideo, int, Iterator[tuple[int, float]]]:
        """Where the clip of a row comes from: the source, the stride, and (number of the video, place in it) to try in turn."""
        rng = np.random.default_rng((self.seed, step, row))
        source = self.sources[rng.choice(len(self.sources), p=self.shares)]
        stride = 1 + int(np.random.default_rng((self.seed, step)).integers(self.max_stride))
        return source, stride, ((source.training_number(i), place) for i, place in _tries(source.training_count(), rng))

    def _decode(self, decoder: Decoder, step: int, row: int) -> Decoded:
        """One clip, after as many tries as it takes. Runs in a thread of the decoders."""
        source, stride, tries = self.choices(step, row)
        failures: list[tuple[str, str]] = []
        for number, place in tries:
            done = source.attempt(decoder, number, place, self.length, stride)
            failures += done.failures
            if done.clip is not None:
                return Decoded(done.clip, failures)
        raise DataError(f"{self.where}: none of {len(failures)} videos of {source.corpus.name}, drawn one after another, gives a clip of "
                        f"{self.length} frames; the last: {failures[-1][1]}")


Source = ClipStore | StreamedVideo


def new_sampler(sources: Sequence[Source], shares: list[float], length: int, seed: int, where: str,
                max_stride: int = 1, every: int = 1) -> Sampler | ClipStream:
    """Draws from stores on disk or from streams, whichever they are."""
    streamed = [source for source in sources if isinstance(source, StreamedVideo)]
    if streamed:
        return ClipStream(streamed, shares, length, seed, where, max_stride, every)
    return Sampler([source for source in sources if isinstance(source, ClipStore)], shares, length, seed, where, max_stride)


def _tries(count: int, rng: np.random.Generator) -> Iterator[tuple[int, float]]:
    """Which of `count` videos to try, one after another, and at which place (0 to 1): none again before all others."""
    first, jump = int(rng.integers(count)), 0
    while math.gcd(jump, count) != 1:
        jump = int(rng.integers(count))
    for k in range(min(max(count, MIN_TRIES), MAX_TRIES)):
        yield (first + k * jump) % count, float(rng.random())
