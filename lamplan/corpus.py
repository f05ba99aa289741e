"""Corpora: where every video of a folder, a list or a folder of shards lies, without unpacking or opening any."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lamplan.errors import DataError
from lamplan.files import file_bytes, whole_file
from lamplan.video import SUFFIXES, Video

SHARD = ".tar"
READERS = 16  # threads that index shards: on a network disk each spends its time waiting


@dataclass(frozen=True)
class Corpus:
    """N videos as arrays, for there may be tens of millions: video i is `files[file[i]]` itself where `size[i]` is -1, else the
    `size[i]` bytes from `start[i]` on in that shard. `problems` are the (name, reason) of shards that cannot be read to their end."""

    name: str
    root: Path
    files: list[str]
    file: np.ndarray
    start: np.ndarray
    size: np.ndarray
    problems: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.file)

    def __getitem__(self, index: int) -> Video:
        path, size = self.root / self.files[self.file[index]], int(self.size[index])
        return Video(path) if size < 0 else Video(path, int(self.start[index]), size)

    def key(self) -> list[list[str | int]]:
        """One entry a video; changes when one is added, taken away, renamed or changes its length in bytes."""
        return [[self.files[i], file_bytes(self.root / self.files[i])] if size < 0 else [self.files[i], int(start), int(size)]
                for i, start, size in zip(self.file, self.start, self.size, strict=True)]


def open_corpus(path: str | Path, cache: Path) -> Corpus:
    """The videos of a folder at any depth (ordinary files, and those in its shards), of one shard, or of a text file with
    the path of a video or shard on each line (relative to the list's own folder; lines that begin with # are comments).

    A shard is a WebDataset: an uncompressed .tar that holds NAME.mp4, or another video; everything else in it is passed over.
    Where each video begins is found once and kept under `cache`. Whether a video can be read shows when it is read.
    Raises DataError when there is no video at all.
    """
    path = Path(path)
    root, names = find_files(path)
    shards = [i for i, name in enumerate(names) if name.lower().endswith(SHARD)]
    if not shards:
        whole = np.full(len(names), -1, dtype=np.int64)
        return Corpus(path.name, root, names, np.arange(len(names)), np.zeros_like(whole), whole)
    found, problems = _indexed(root, [names[i] for i in shards], cache)
    corpus = _merged(path.name, root, names, shards, found, problems)
    if not len(corpus):
        raise DataError(f"{path} holds no video: its shards have none inside. " + " ".join(reason for _, reason in problems[:1]))
    return corpus


def find_files(path: Path) -> tuple[Path, list[str]]:
    """The folder that names are relative to, and the names of videos and shards in order, of what `open_corpus` takes."""
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in (*SUFFIXES, SHARD) and file.is_file())
        root, names = path, [str(file.relative_to(path)) for file in found]
    elif path.is_file():
        root, names = path.parent, [path.name] if path.suffix.lower() == SHARD else _lines(path)
    else:
        raise DataError(f"no folder of videos at {path}, nor a list of them or a shard.")
    if not names:
        raise DataError(f"{path} holds no video: expected files ending in {', '.join(SUFFIXES)} or {SHARD}, "
                        f"{'at any depth' if path.is_dir() else 'one path on each line'}.")
    return root, names


def shard_members(shard: Path) -> Iterator[tuple[int, int]]:
    """Where each video of a shard begins and how many bytes it has, from the headers alone.

    Raises DataError where the shard is damaged, after what lies before the damage.
    """
    try:
        total, end = shard.stat().st_size, 0
        with tarfile.open(shard, "r:") as tar:
            while (member := tar.next()) is not None:
                # A damaged header may claim a place that was read before, or more bytes than there are.
                if member.offset_data < end or not 0 <= member.size <= total - member.offset_data:
                    raise tarfile.ReadError(f"{member.name} claims {member.size} bytes from {member.offset_data} on, of {total}")
                end = tar.offset
                if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.name.lower().endswith(SUFFIXES):
                    yield member.offset_data, member.size
        if not _ends(shard, end):
            raise tarfile.ReadError(f"after {end} of {total} bytes there is neither another member nor an end mark")
    # tarfile lets some damaged fields through as other errors.
    except (OSError, tarfile.TarError, ValueError, EOFError, OverflowError, UnicodeError, IndexError, KeyError) as error:
        raise DataError(f"{shard} is no whole, uncompressed tar ({error}); copy it anew, or write it with `lamplan shard`.") from None


def _ends(shard: Path, offset: int) -> bool:
    """Whether the tar's end mark, a block of zeros, stands there. tarfile takes a damaged header for the end as well."""
    with shard.open("rb") as file:
        file.seek(offset)
        return file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no list of videos ({error}); expected a text file with one path a line.") from None
    return [line for line in lines if line and not line.startswith("#")]


def _indexed(root: Path, shards: list[str], cache: Path) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Rows (shard, start, size) of all videos in the shards, and the shards that are damaged; from the cache if it has them."""
    key = json.dumps([str(root.absolute()), [[name, file_bytes(root / name)] for name in shards]])
    target = cache / f"shards-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if not target.exists():
        parts, problems = [], []
        with ThreadPoolExecutor(READERS) as pool:
            each = pool.map(_index, [root / name for name in shards])
            for i, (rows, problem) in enumerate(tqdm(each, desc="index shards", total=len(shards), unit="shard", dynamic_ncols=True)):
                parts.append(np.array([[i, start, size] for start, size in rows], dtype=np.int64).reshape(-1, 3))
                problems += [(str(root / shards[i]), problem)] if problem else []
        with whole_file(target) as unfinished, unfinished.open("wb") as file:
            np.savez(file, rows=np.concatenate(parts), problems=np.frombuffer(json.dumps(problems).encode(), np.uint8))
    with np.load(target) as stored:
        return stored["rows"], [(name, reason) for name, reason in json.loads(stored["problems"].tobytes())]


def _index(shard: Path) -> tuple[list[tuple[int, int]], str | None]:
    rows: list[tuple[int, int]] = []
    try:
        for row in shard_members(shard):
            rows.append(row)
    except DataError as error:
        return rows, str(error)
    return rows, None


def _merged(name: str, root: Path, names: list[str], shards: list[int], found: np.ndarray, problems: list[tuple[str, str]]) -> Corpus:
    """The members of shards and the single files, in the order of the names."""
    alone = np.setdiff1d(np.arange(len(names)), shards)
    file = np.concatenate([np.asarray(shards)[found[:, 0]], alone])
    order = np.argsort(file, kind="stable")
    start, size = (np.concatenate([column, np.full(len(alone), single)])[order] for column, single in ((found[:, 1], 0), (found[:, 2], -1)))
    return Corpus(name, root, names, file[order], start, size, problems)
