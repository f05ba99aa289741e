"""`lamplan shard`: what it takes, what it leaves out and says, and that a killed run goes on."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from lamplan import shards
from lamplan.cli import main
from lamplan.corpus import open_corpus
from lamplan.errors import DataError, InputError
from lamplan.shards import report, shard
from tests import faults, tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.videos(tmp_path_factory.mktemp("videos") / "v", count=8)
    (folder / "deep").mkdir()
    (folder / "7.mp4").rename(folder / "deep" / "a b.MP4")
    for kind in faults.BAD:
        faults.spoil(folder, kind, np.random.default_rng(0))
    faults.write_uneven(folder / "uneven.mp4", tiny.drive(np.random.default_rng(0), 8)[0], list(np.cumsum(np.arange(1, 9)) / 10))
    return folder


GOOD = ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4", "5.mp4", "6.mp4", "deep/a b.MP4", "too-short.mp4", "uneven.mp4"]
SKIPPED = sorted(f"{kind}.mp4" for kind in faults.BAD if kind != "too-short")  # two frames are enough to be kept


def contents(out: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {f"{path.name}/{member.name}": tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    return found


def test_the_good_videos_arrive_byte_for_byte_and_the_bad_ones_are_named(folder: Path, tmp_path: Path) -> None:
    plan = shard(folder, tmp_path / "out", size_mb=0.004, workers=1)
    assert [video.file for video in plan.skipped] == SKIPPED and all(video.problem for video in plan.skipped)
    packed = [video.file for each in plan.shards for _, video in each.videos]
    assert packed == GOOD and len(plan.shards) > 2
    assert all(each.bytes <= 4_000 or len(each.videos) == 1 for each in plan.shards)
    members = contents(tmp_path / "out")
    videos = {json.loads(members[name.rsplit(".", 1)[0] + ".json"])["file"]: content for name, content in members.items()
              if not name.endswith(".json")}
    assert videos == {name: (folder / name).read_bytes() for name in GOOD}
    assert json.loads(members["shard-000000.tar/000000000.json"]) == {"file": "0.mp4", "seconds": 2.75}
    text = report(plan, dry_run=False)
    assert all(f"skipped {name}: " in text for name in SKIPPED)
    assert f"wrote {len(plan.shards)} shards: 10 videos" in text and "skipped 7 videos" in text
    corpus = open_corpus(tmp_path / "out", tmp_path / "cache")
    assert len(corpus) == len(GOOD) and not corpus.problems


def test_a_dry_run_says_the_same_and_writes_nothing(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    arguments = ["shard", str(folder), "--out", str(tmp_path / "out"), "--size-mb", "0.004", "--workers", "1"]
    assert main([*arguments, "--dry-run"]) == 0
    dry = capsys.readouterr().out
    assert not (tmp_path / "out").exists() and "would write" in dry
    assert main(arguments) == 0
    assert capsys.readouterr().out == dry.replace("would write", "wrote")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("when", ["checking", "writing"])
def test_a_killed_run_goes_on_to_the_same_shards(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    shard(folder, tmp_path / "whole", size_mb=0.004, workers=1)

    class Killed(Exception):
        pass

    calls = {"left": 2 if when == "writing" else 12}
    name = "_write" if when == "writing" else "asdict"
    real = getattr(shards, name)

    def die(*arguments: object) -> object:
        calls["left"] -= 1
        if calls["left"] < 0:
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(shards, name, die)
        shard(folder, tmp_path / "parts", size_mb=0.004, workers=1)
    checked = (tmp_path / "parts" / "checked.jsonl").read_text()
    with (tmp_path / "parts" / "checked.jsonl").open("a") as file:
        file.write('{"file": "half a li')
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts").glob("*.tar")}
    assert len(written) == (2 if when == "writing" else 0)
    looked: list[str] = []
    real_window = shards.Decoder.window
    monkeypatch.setattr(shards.Decoder, "window", lambda *given: (looked.append(given[1].path.name), real_window(*given)))
    shard(folder, tmp_path / "parts", size_mb=0.004, workers=1)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert {name: (tmp_path / "parts" / name).stat().st_mtime_ns for name in written} == written
    assert not {Path(json.loads(line)["file"]).name for line in checked.splitlines()} & set(looked)
    assert not list((tmp_path / "parts").glob("*.tmp"))


def test_shards_of_another_order_are_never_mixed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in GOOD[:3]:
        (tmp_path / "in" / name).write_bytes((folder / name).read_bytes())
    shard(tmp_path / "in", tmp_path / "out", workers=1)
    with pytest.raises(InputError, match="choose another folder"):
        shard(tmp_path / "in", tmp_path / "out", size_mb=7.0, workers=1)
    (tmp_path / "in" / "more.mp4").write_bytes((folder / "0.mp4").read_bytes())
    with pytest.raises(InputError, match="have changed"):
        shard(tmp_path / "in", tmp_path / "out", workers=1)
    with pytest.raises(InputError, match="holds shards already"):
        shard(tmp_path / "out", tmp_path / "again", workers=1)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "a.tar").write_bytes(b"")
    with pytest.raises(InputError, match="did not write"):
        shard(tmp_path / "in", tmp_path / "foreign", workers=1)


def test_mistakes_end_with_a_sentence_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad").mkdir()
    faults.spoil(tmp_path / "bad", "empty", np.random.default_rng(0))
    for arguments, says in ((["absent"], "no folder"), (["bad"], "none of the 1 videos"), (["bad", "--size-mb", "0"], "positive size")):
        options = ["shard", str(tmp_path / arguments[0]), *arguments[1:], "--out", str(tmp_path / "out"), "--workers", "1"]
        assert main(options) == 2
        assert says in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.tar"))


def test_a_video_that_shrinks_while_it_is_written_leaves_no_shard(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes((folder / "0.mp4").read_bytes())
    real = shards._packed

    def shrink(*arguments: object) -> object:
        (tmp_path / "in" / "a.mp4").write_bytes(b"short")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(shards, "_packed", shrink)
    with pytest.raises(DataError, match="cannot be written"):
        shard(tmp_path / "in", tmp_path / "out", workers=1)
    assert not list((tmp_path / "out").glob("*tar*"))
