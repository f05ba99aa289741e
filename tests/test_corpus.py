"""Where videos lie: folders, lists and shards, whole or damaged."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplan.corpus import open_corpus, shard_members
from lamplan.errors import DataError
from lamplan.video import SUFFIXES, Video, read_clip, write_video


def pack(path: Path, members: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    for i in range(4):
        write_video(folder / f"{i}.mp4", rng.integers(0, 255, (6, 32, 32, 3), dtype=np.uint8), fps=4.0)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_folder_is_searched_at_any_depth_and_sorted(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.mp4", "a.MKV", "deep/er/c.webm", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    corpus = open_corpus(tmp_path, tmp_path / "cache")
    assert [corpus[i] for i in range(len(corpus))] == [Video(tmp_path / name) for name in ("a.MKV", "b.mp4", "deep/er/c.webm")]
    assert corpus.key() == [["a.MKV", 0], ["b.mp4", 0], ["deep/er/c.webm", 0]]


def test_a_real_folder(shared_data: Path, tmp_path: Path) -> None:
    assert len(open_corpus(shared_data / "videos", tmp_path)) == 3


def test_what_holds_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    pack(tmp_path / "empty.tar", {"notes.txt": b"no video"})
    (tmp_path / "zero.tar").write_bytes(b"")
    for name, says in (("empty", "holds no video"), ("absent", "no folder"), ("empty.txt", "one path on each line"),
                       ("binary.txt", "no list of videos"), ("empty.tar", "have none inside"), ("zero.tar", "no whole, uncompressed tar")):
        with pytest.raises(DataError, match=says) as error:
            open_corpus(tmp_path / name, tmp_path / "cache")
        assert str(tmp_path / name) in str(error.value)


def test_a_list_names_videos_and_shards_relative_to_itself(tmp_path: Path, videos: dict[str, bytes]) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "ü, b.mp4").write_bytes(videos["0.mp4"])
    pack(tmp_path / "far" / "s.tar", {name: videos[name] for name in ("1.mp4", "2.mp4")})
    (tmp_path / "list.txt").write_text(f"# mine\nfar/ü, b.mp4\n\nfar/s.tar\n{tmp_path}/far/ü, b.mp4\nfar/gone.mp4\n")
    corpus = open_corpus(tmp_path / "list.txt", tmp_path / "cache")
    assert len(corpus) == 5
    assert np.array_equal(read_clip(corpus[0], size=32), read_clip(corpus[3], size=32))
    assert corpus[1].name.endswith("s.tar:1.mp4") and corpus[2].name.endswith("s.tar:2.mp4")
    with pytest.raises(DataError, match=r"no video at .*gone\.mp4"):
        read_clip(corpus[4])


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_a_shard_read_as_the_files_they_were(tmp_path: Path, videos: dict[str, bytes], form: int) -> None:
    folder = tmp_path / "a:b, c"
    folder.mkdir()
    long = "deep/" * 30 + "long.mp4" if form != tarfile.USTAR_FORMAT else "long.mp4"
    pack(folder / "s.tar", {"0.mp4": videos["0.mp4"], "0.json": b"{}", long: videos["1.mp4"], "ü.mp4": videos["2.mp4"]}, form)
    corpus = open_corpus(folder, tmp_path / "cache")
    assert len(corpus) == 3 and not corpus.problems
    for i in range(3):
        (tmp_path / "alone.mp4").write_bytes(videos[f"{i}.mp4"])
        assert np.array_equal(read_clip(corpus[i], size=32), read_clip(tmp_path / "alone.mp4", size=32))
        assert np.array_equal(read_clip(corpus[i], size=32, start_s=0.5, frames=2), read_clip(tmp_path / "alone.mp4", 4.0, 32, 0.5, 2))


def test_a_shard_of_the_tar_program(tmp_path: Path, videos: dict[str, bytes]) -> None:
    (tmp_path / "in").mkdir()
    for name, content in videos.items():
        (tmp_path / "in" / name).write_bytes(content)
    (tmp_path / "in" / "link.mp4").symlink_to("0.mp4")
    subprocess.run(["tar", "-cf", tmp_path / "s.tar", "-C", tmp_path, "in"], check=True)
    corpus = open_corpus(tmp_path / "s.tar", tmp_path / "cache")
    assert sorted(Path(corpus[i].name.partition(":")[2]).name for i in range(len(corpus))) == sorted(videos)


def test_the_index_is_made_once_and_a_changed_shard_is_noticed(tmp_path: Path, videos: dict[str, bytes],
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    shard = pack(tmp_path / "s.tar", videos)
    first = open_corpus(tmp_path, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr("lamplan.corpus.shard_members", None)
        again = open_corpus(tmp_path, tmp_path / "cache")
    assert [again[i] for i in range(4)] == [first[i] for i in range(4)]
    content = bytearray(shard.read_bytes())
    content[again[1].start - 512 :] = bytes(len(content) - again[1].start + 512)
    shard.write_bytes(content)
    assert read_clip(again[0], size=32).shape == (6, 32, 32, 3)
    with pytest.raises(DataError, match=r"s\.tar"):
        read_clip(again[1])


def test_a_shard_cut_short_keeps_what_lies_before_the_cut(tmp_path: Path, videos: dict[str, bytes]) -> None:
    whole = pack(tmp_path / "s.tar", videos).read_bytes()
    all_members = list(shard_members(tmp_path / "s.tar"))
    for kept in range(4):
        cut = all_members[kept][0] + all_members[kept][1] // 2
        (tmp_path / "s.tar").write_bytes(whole[:cut])
        if kept:
            corpus = open_corpus(tmp_path, tmp_path / "cache")
            assert [(int(s), int(n)) for s, n in zip(corpus.start, corpus.size, strict=True)] == all_members[:kept]
            assert corpus.problems[0][0] == str(tmp_path / "s.tar") and "no whole, uncompressed tar" in corpus.problems[0][1]


@settings(max_examples=200, deadline=2000)
@given(seed=st.integers(0, 100_000))
def test_damaged_tars_give_members_inside_the_file_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = np.random.default_rng(seed)
    members = {f"{i}{SUFFIXES[i % 3]}": rng.bytes(int(rng.integers(0, 1500))) for i in range(6)} | {"x" * 150 + ".mp4": b"long"}
    path = pack(tmp_path_factory.mktemp("tar") / "s.tar", members, int(rng.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])))
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    places = rng.integers(0, min(len(content), 9000), int(rng.integers(1, 30)))
    content[places] = rng.choice(np.array([0, 32, 45, 48, 55, 128, 255, int(rng.integers(256))], np.uint8), len(places))
    path.write_bytes(content[: int(rng.integers(0, len(content) + 1)) if rng.random() < 0.3 else None].tobytes())
    found = []
    try:
        for row in shard_members(path):
            found.append(row)
    except DataError as error:
        assert str(path) in str(error)
    assert len(found) <= len(members) + 1
    assert all(start >= 0 and size >= 0 and start + size <= path.stat().st_size for start, size in found)
