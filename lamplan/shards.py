"""`lamplan shard`: a folder of video as WebDataset shards, a few large files that any disk reads fast instead of millions of small ones."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lamplan.corpus import SHARD, find_files
from lamplan.decoders import Decoder, Decoders
from lamplan.errors import DataError, InputError
from lamplan.files import file_bytes, whole_file
from lamplan.video import Video

ORDER, CHECKED = "shards.json", "checked.jsonl"
PLACES = (0.0, 0.5, 1.0)  # where a video is looked into: all of it would take as long as a pass of training
FRAMES, RATE_HZ, SIDE = 2, 4.0, 32
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Checked:
    """A video that was looked into: what is wrong with it, or how long it lasts."""

    file: str
    bytes: int
    seconds: float = 0.0
    problem: str | None = None


@dataclass(frozen=True)
class Shard:
    """A shard to be written: videos by their number in the folder."""

    name: str
    videos: list[tuple[int, Checked]]

    @property
    def bytes(self) -> int:
        return sum(video.bytes for _, video in self.videos)


@dataclass(frozen=True)
class Sharding:
    """All shards of a folder, and what is left out of them."""

    shards: list[Shard]
    skipped: list[Checked]


def shard(source: Path, out: Path, size_mb: float = 1000.0, dry_run: bool = False, workers: int | None = None) -> Sharding:
    """Writes the videos of a folder or list to `out` as shards of at most `size_mb` megabytes (a larger video has one of its own).

    Each video is looked into at its beginning, middle and end, and left out if it is damaged or shorter than two frames
    at 4 Hz. A shard holds NUMBER.mp4, the file as it was, and NUMBER.json, its path in the folder and its length in
    seconds. A shard gets its name when it is complete; a run that was killed goes on where it was. A dry run writes nothing.
    """
    if not size_mb > 0:
        raise InputError(f"shards of {size_mb:g} MB hold nothing; give a positive size.")
    root, names = find_files(source)
    if shards := [name for name in names if name.lower().endswith(SHARD)]:
        raise InputError(f"{source} holds shards already, the first {shards[0]}; give the folder of the videos themselves.")
    if not dry_run:
        _settle(source, root, names, out, size_mb)
    checked = list(tqdm(_check(root, names, None if dry_run else out / CHECKED, workers), desc="look into videos", total=len(names),
                        unit="video", dynamic_ncols=True))
    plan = Sharding(list(_packed(checked, size_mb * MEGABYTE)), [video for video in checked if video.problem])
    if not plan.shards:
        raise DataError(f"none of the {len(names)} videos of {source} can be used; the first: {plan.skipped[0].problem}")
    if not dry_run:
        for each in tqdm([each for each in plan.shards if not (out / each.name).exists()], desc="write", unit="shard", dynamic_ncols=True):
            _write(each, root, out / each.name)
    return plan


def report(plan: Sharding, dry_run: bool) -> str:
    """What a sharding came or would come to, line by line: everything that is skipped, then the shards."""
    lines = [f"skipped {video.file}: {video.problem}" for video in plan.skipped]
    lines += [f"{each.name}  {len(each.videos)} videos  {each.bytes / MEGABYTE:.1f} MB" for each in plan.shards]
    videos = [video for each in plan.shards for _, video in each.videos]
    total, hours = sum(video.bytes for video in videos), sum(video.seconds for video in videos) / 3600
    return "\n".join([*lines, f"{'would write' if dry_run else 'wrote'} {len(plan.shards)} shards: {len(videos)} videos, {hours:.2f} h, "
                              f"{total / MEGABYTE:.1f} MB; skipped {len(plan.skipped)} videos"])


def _settle(source: Path, root: Path, names: list[str], out: Path, size_mb: float) -> None:
    """Refuses to mix the shards of two folders, of two sizes or of two states of a folder."""
    key = hashlib.sha256(json.dumps([[name, file_bytes(root / name)] for name in names]).encode()).hexdigest()
    wanted = {"source": str(source.absolute()), "size_mb": size_mb, "videos": len(names), "key": key}
    out.mkdir(parents=True, exist_ok=True)
    file = out / ORDER
    if file.exists():
        if (found := json.loads(file.read_text(encoding="utf-8"))) != wanted:
            raise InputError(f"{out} holds shards of {found.get('source')} ({found.get('videos')} videos, {found.get('size_mb')} MB each), "
                             f"asked for now were {source} ({len(names)} videos, {size_mb:g} MB), or its files have changed; "
                             "choose another folder.")
    elif any(out.glob(f"*{SHARD}")):
        raise InputError(f"{out} holds shards that `lamplan shard` did not write; choose another folder.")
    else:
        with whole_file(file) as unfinished:
            unfinished.write_text(json.dumps(wanted) + "\n", encoding="utf-8")


def _check(root: Path, names: list[str], log: Path | None, workers: int | None) -> Iterator[Checked]:
    """Looks into every video, in order; what `log` says of an unchanged file is believed, what is new is added to it."""
    known = {(video.file, video.bytes): video for video in _read(log)} if log else {}
    with Decoders(workers) as decoders:
        for video in decoders.map(partial(_look, root=root, name=name, known=known) for name in names):
            if log and (video.file, video.bytes) not in known:
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(video)) + "\n")
            yield video


def _look(decoder: Decoder, root: Path, name: str, known: dict[tuple[str, int], Checked]) -> Checked:
    size, video = file_bytes(root / name), Video(root / name)
    if (name, size) in known:
        return known[name, size]
    try:
        for place in PLACES:
            decoder.window(video, place, FRAMES, RATE_HZ, SIDE)
        return Checked(name, size, decoder.duration_s(video))
    except DataError as error:
        return Checked(name, size, problem=str(error))


def _read(log: Path) -> Iterator[Checked]:
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        try:
            yield Checked(**json.loads(line))
        except (ValueError, TypeError):  # a line that a kill cut short: its video is looked into again
            continue


def _packed(checked: list[Checked], limit: float) -> Iterator[Shard]:
    videos: list[tuple[int, Checked]] = []
    filled = number = 0
    for i, video in enumerate(checked):
        if video.problem:
            continue
        if videos and filled + video.bytes > limit:
            yield Shard(f"shard-{number:06d}{SHARD}", videos)
            videos, filled, number = [], 0, number + 1
        videos.append((i, video))
        filled += video.bytes
    if videos:
        yield Shard(f"shard-{number:06d}{SHARD}", videos)


def _write(each: Shard, root: Path, path: Path) -> None:
    try:
        with whole_file(path) as unfinished, tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as tar:
            for i, video in each.videos:
                facts = json.dumps({"file": video.file, "seconds": round(video.seconds, 3)}).encode()
                with (root / video.file).open("rb") as file:
                    tar.addfile(_member(f"{i:09d}{Path(video.file).suffix.lower()}", video.bytes), file)
                tar.addfile(_member(f"{i:09d}.json", len(facts)), io.BytesIO(facts))
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error}); make room, or run it again if a video was changed or taken away.") from None


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member
