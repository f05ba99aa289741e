"""Writing many clips to a folder by several processes, so that a killed run goes on where it stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from envs.wild.clips import DOMAINS, FIRST_HELD_OUT_SEED, ClipMaker, DomainClips, WildClips, family_of
from lamplan.errors import InputError
from lamplan.video import write_video

PER_FOLDER = 1000
CRF = 28
SETTINGS, MANIFEST = "settings.json", "manifest.jsonl"


@dataclass(frozen=True)
class Order:
    """What every clip of a folder has in common. With the index of a clip it decides all its pixels."""

    domain: str = "wild"
    seed: int = 0
    frames: int = 24
    size: int = 128
    fps: float = 4.0

    def check(self, clips: int) -> None:
        """Raises InputError where the order cannot be filled."""
        if self.domain != "wild" and self.domain not in DOMAINS:
            raise InputError(f"domain is '{self.domain}', expected wild, {' or '.join(DOMAINS)}.")
        if min(clips, self.frames - 1, self.seed + 1) < 1 or self.fps <= 0:
            raise InputError("clips must be at least 1, frames at least 2, the seed at least 0 and fps above 0.")
        if self.size < 16 or self.size % 2:
            raise InputError(f"size is {self.size} px, expected an even number from 16 up.")
        if self.domain != "wild" and self.seed + clips > FIRST_HELD_OUT_SEED:
            raise InputError(
                f"seeds {self.seed} to {self.seed + clips - 1} run into those held out for benchmarks (from {FIRST_HELD_OUT_SEED})."
            )

    def maker(self) -> ClipMaker:
        """The maker of this order's clips, with a renderer of its own."""
        if self.domain == "wild":
            return WildClips(self.seed, self.frames, self.size, self.fps)
        return DomainClips(self.domain, self.seed, self.frames, self.size, self.fps)


def clip_file(index: int) -> str:
    """The path of a clip inside its folder."""
    return f"{index // PER_FOLDER:05d}/clip_{index:06d}.mp4"


def generate(order: Order, out: Path, clips: int, workers: int) -> None:
    """Writes clips 0 to `clips` - 1 to `out`, leaving out those that exist, and the list of what is there."""
    order.check(clips)
    if workers < 1:
        raise InputError(f"workers is {workers}, expected at least 1.")
    _settle(order, out)
    missing = [index for index in range(clips) if not (out / clip_file(index)).exists()]
    try:
        with _written(order, out, missing, workers) as written:
            for _ in tqdm(
                written, total=clips, initial=clips - len(missing), desc=order.domain, unit="clip", smoothing=0.05
            ):
                pass
    finally:
        _write_manifest(order, out, clips)


def _settle(order: Order, out: Path) -> None:
    """Refuses to mix clips of two orders in one folder."""
    out.mkdir(parents=True, exist_ok=True)
    file, wanted = out / SETTINGS, asdict(order)
    if file.exists():
        found = json.loads(file.read_text())
        if found != wanted:
            raise InputError(
                f"{out} holds clips made with {found}, asked for now were {wanted}: choose another folder or the same settings."
            )
        return
    _replace(file, json.dumps(wanted) + "\n")


def _write_manifest(order: Order, out: Path, clips: int) -> None:
    lines = [
        json.dumps(
            {
                "file": clip_file(index),
                "seed": order.seed,
                "index": index,
                "family": family_of(order.domain, order.seed, index),
            }
        )
        for index in range(clips)
        if (out / clip_file(index)).exists()
    ]
    _replace(out / MANIFEST, "".join(f"{line}\n" for line in lines))


def _replace(file: Path, text: str) -> None:
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    unfinished.write_text(text)
    os.replace(unfinished, file)


@contextmanager
def _written(order: Order, out: Path, missing: list[int], workers: int) -> Iterator[Iterator[int]]:
    """Yields the indices of clips as they are written."""
    # The software renderer's own threads get in the way of the other workers.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not missing:
        yield iter(())
    elif workers == 1:
        maker = order.maker()
        try:
            yield (_write(maker, order, out, index) for index in missing)
        finally:
            maker.close()
    else:
        # A renderer does not survive a fork.
        with multiprocessing.get_context("spawn").Pool(min(workers, len(missing)), _open, (order, out)) as pool:
            yield pool.imap_unordered(_run, missing)


def _write(maker: ClipMaker, order: Order, out: Path, index: int) -> int:
    write_video(out / clip_file(index), maker.make(index), order.fps, crf=CRF)
    return index


_job: tuple[ClipMaker, Order, Path]  # one per worker process: its renderer and its robots take seconds to make


def _open(order: Order, out: Path) -> None:
    global _job
    _job = (order.maker(), order, out)


def _run(index: int) -> int:
    return _write(*_job, index)
