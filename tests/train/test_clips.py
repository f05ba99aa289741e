"""Clips decoded while training: the same ones however they are asked for, whatever lies in the corpus."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lamplan.cli import main
from lamplan.errors import DataError
from lamplan.shards import shard
from lamplan.train.clips import ClipStream, Skipped, StreamedVideo, Streaming, _tries
from lamplan.train.data import held_out_every
from tests import faults, tiny

LENGTH = 3


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.videos(tmp_path_factory.mktemp("videos") / "v", count=30, steps=16)


@pytest.fixture(scope="module")
def streaming() -> Iterator[Streaming]:
    with Streaming(workers=2) as streaming:
        yield streaming


def stream(sources: list[StreamedVideo], seed: int = 0, shares: list[float] | None = None, max_stride: int = 1) -> ClipStream:
    return ClipStream(sources, shares or [1.0] * len(sources), LENGTH, seed, "test", max_stride)


def test_clips_depend_on_seed_and_step_alone(videos: Path, streaming: Streaming, tmp_path: Path) -> None:
    source = streaming.store(videos, tmp_path, 32, 4.0)
    whole = stream([source])
    first = [whole.draw(step, 6) for step in range(6)]
    assert first[0].shape == (6, LENGTH, 32, 32, 3) and first[0].dtype == torch.uint8
    assert not torch.equal(first[0], first[1])
    # One worker; resumed at step 3; asked for out of order; a shorter batch.
    with Streaming(workers=1) as alone:
        resumed = stream([alone.store(videos, tmp_path, 32, 4.0)])
        for step in (3, 4, 5, 0):
            assert torch.equal(resumed.draw(step, 6), first[step])
    assert torch.equal(whole.draw(1, 4), first[1][:4])
    assert not torch.equal(stream([source], seed=1).draw(0, 6), first[0])


def test_another_process_s_steps_are_not_decoded(videos: Path, streaming: Streaming, tmp_path: Path) -> None:
    source = streaming.store(videos, tmp_path, 32, 4.0)
    mine = ClipStream([source], [1.0], LENGTH, 0, "test", every=3)
    assert torch.equal(mine.draw(5, 2), stream([source]).draw(5, 2))
    assert sorted(mine._waiting) == [(8, 0), (8, 1), (11, 0), (11, 1)]


def test_folder_list_and_shards_give_the_same_clips(videos: Path, streaming: Streaming, tmp_path: Path) -> None:
    shard(videos, tmp_path / "shards", size_mb=0.006, workers=1)
    (tmp_path / "list.txt").write_text("\n".join(str(path) for path in sorted(videos.iterdir())))
    drawn = [stream([streaming.store(path, tmp_path, 32, 4.0)]).draw(0, 8) for path in (videos, tmp_path / "list.txt", tmp_path / "shards")]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])


def test_a_corpus_is_told_from_others(videos: Path, streaming: Streaming, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    for video in videos.iterdir():
        (folder / video.name).write_bytes(video.read_bytes())
    source = streaming.store(videos, tmp_path, 32, 4.0)
    assert source.identity() == streaming.store(folder, tmp_path, 32, 4.0).identity()  # wherever it lies
    others = [source, streaming.store(folder, tmp_path, 16, 4.0), streaming.store(folder, tmp_path, 32, 2.0)]
    (folder / "3.mp4").write_bytes((folder / "3.mp4").read_bytes() + b" ")
    others.append(streaming.store(folder, tmp_path, 32, 4.0))
    (folder / "3.mp4").rename(folder / "three.mp4")
    others.append(streaming.store(folder, tmp_path, 32, 4.0))
    assert len({other.identity() for other in others}) == 5


@pytest.mark.parametrize("count", [2, 24, 25, 26, 99, 1000])
def test_held_out_videos_are_never_drawn_and_all_others_can_be(streaming: Streaming, tmp_path: Path, count: int) -> None:
    (tmp_path / "list.txt").write_text("\n".join(f"{i}.mp4" for i in range(count)))
    source = streaming.store(tmp_path / "list.txt", tmp_path, 32, 4.0)
    drawn = [source.training_number(i) for i in range(source.training_count())]
    every = held_out_every(count)
    assert drawn == [i for i in range(count) if i % every != every - 1] and 0 < len(drawn) < count


def test_tries_go_through_all_videos_before_any_again() -> None:
    for count in (1, 2, 7, 60, 5000):
        tries = list(_tries(count, np.random.default_rng(count)))
        numbers = [number for number, _ in tries]
        assert len(set(numbers)) == min(count, 1000) and set(numbers) <= set(range(count)) and 50 <= len(tries) <= 1000
    firsts = [next(_tries(4, np.random.default_rng(seed)))[0] for seed in range(2000)]
    assert np.abs(np.bincount(firsts) / 2000 - 0.25).max() < 0.04


def test_shares_and_strides_are_kept(streaming: Streaming, tmp_path: Path) -> None:
    for name, level in (("dark", 20), ("bright", 220)):
        for i in range(3):
            ramp = (level + np.arange(0, 24, 2))[:, None, None, None]
            faults.write_uneven(tmp_path / name / f"{i}.mp4" if (tmp_path / name).mkdir(exist_ok=True) is None else tmp_path,
                                np.broadcast_to(ramp, (12, 32, 32, 3)).astype(np.uint8), list(np.arange(12) / 4))
    sources = [streaming.store(tmp_path / name, tmp_path, 32, 4.0) for name in ("dark", "bright")]
    clips = stream(sources, shares=[1, 3], max_stride=2)
    drawn = [clips.draw(step, 40).float().mean((2, 3, 4)) for step in range(6)]
    assert abs(torch.cat(drawn).gt(128).float().mean().item() - 0.75) < 0.1
    steps = [(clip[:, -1] - clip[:, 0]) / (2 * (LENGTH - 1)) for clip in drawn]
    strides = {round(step.mean().item()) for step in steps}
    assert strides == {1, 2} and all((step - step.mean()).abs().max() < 0.6 for step in steps)


def test_a_bad_file_is_replaced_named_once_and_the_same_on_every_run(videos: Path, tmp_path: Path) -> None:
    folder, rng = tmp_path / "mixed", np.random.default_rng(0)
    folder.mkdir()
    for video in videos.iterdir():
        (folder / video.name).write_bytes(video.read_bytes())
    bad = {str(faults.spoil(folder, kind, rng)) for kind in faults.BAD}
    drawn, logs = [], []
    for run in ("one", "two"):
        with Streaming(tmp_path / run / "skipped.tsv", workers=1 + (run == "two")) as streaming:
            clips = stream([streaming.store(folder, tmp_path, 32, 4.0)])
            drawn.append(torch.cat([clips.draw(step, 16) for step in range(12)]))
            assert streaming.skipped.draws > 20
            assert str(len(bad)) in str(streaming.skipped)
        logs.append((tmp_path / run / "skipped.tsv").read_text())
    assert torch.equal(drawn[0], drawn[1]) and logs[0] == logs[1]
    named = [line.split("\t")[0] for line in logs[0].splitlines()]
    assert set(named) == bad and len(named) == len(bad)
    # Another start of the run adds no line.
    with Streaming(tmp_path / "one" / "skipped.tsv", workers=1) as streaming:
        stream([streaming.store(folder, tmp_path, 32, 4.0)]).draw(0, 16)
    assert (tmp_path / "one" / "skipped.tsv").read_text() == logs[0]


def test_a_video_that_vanishes_while_training_is_skipped(videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for video in sorted(videos.iterdir())[:6]:
        (folder / video.name).write_bytes(video.read_bytes())
    with Streaming(workers=1) as streaming:
        clips = stream([streaming.store(folder, tmp_path, 32, 4.0)])
        (folder / "0.mp4").unlink()
        for step in range(3):
            assert clips.draw(step, 8).shape[0] == 8
        assert streaming.skipped.reasons == {str(folder / "0.mp4"): f"no video at {folder / '0.mp4'}."}


def test_a_corpus_without_a_good_file_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    for kind in faults.BAD:
        faults.spoil(tmp_path / "bad", kind, np.random.default_rng(0))
    with Streaming(workers=1) as streaming:
        source = streaming.store(tmp_path / "bad", tmp_path, 32, 4.0)
        with pytest.raises(DataError, match="none of 50 videos of bad, drawn one after another"):
            stream([source]).draw(0, 2)
        with pytest.raises(DataError, match="none of the 1 videos of bad held out"):
            source.validation(LENGTH, 4)
        (tmp_path / "bad2").mkdir()
        faults.spoil(tmp_path / "bad2", "good", np.random.default_rng(0))
        alone = streaming.store(tmp_path / "bad2", tmp_path, 32, 4.0)
        with pytest.raises(DataError, match="a single video"):
            stream([alone])
        with pytest.raises(DataError, match="a single video"):
            alone.training(LENGTH, 4)


def test_names_with_tabs_and_ends_of_lines_stay_on_their_line(tmp_path: Path) -> None:
    skipped = Skipped(tmp_path / "run" / "skipped.tsv")
    skipped.add([("a\tb\n.mp4", "first\nreason"), ("a\tb\n.mp4", "second"), ("\udcff.mp4", "x")])
    assert (tmp_path / "run" / "skipped.tsv").read_text() == "a\\tb\\n.mp4\tfirst reason\n\\udcff.mp4\tx\n"
    assert len(Skipped(tmp_path / "run" / "skipped.tsv").reasons) == 2


def test_training_goes_on_over_a_corpus_with_faults_and_names_exactly_what_was_skipped(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fault test: 10 % of the files are bad, the variable-rate ones are good; what is learned beats copying."""
    folder, rng = tiny.videos(tmp_path / "v", count=72, steps=12), np.random.default_rng(0)
    frames = tiny.drive(rng, 16)[0]
    for i in range(2):
        faults.write_uneven(folder / f"uneven{i}.mp4", frames, list(np.cumsum(rng.choice([0.1, 0.25, 0.5], 16))))
    bad = {str(faults.spoil(folder, kind, rng)) for kind in faults.BAD}
    recipe, out = tiny.recipe(tmp_path), tmp_path / "out"
    assert main(["pretrain", str(recipe), "--data", str(folder), "--out", str(out), "--steps", "150", "--stream", "--workers", "2"]) == 0
    assert f"{len(bad)} videos were skipped" in capsys.readouterr().out
    logged = [line.split("\t") for line in (out / "run" / "skipped.tsv").read_text().splitlines()]
    assert {name for name, _ in logged} == bad and len(logged) == len(bad)
    assert not any(path.suffix == ".npy" for path in out.rglob("*"))
    with (out / "run" / "lam" / "curves.csv").open() as file:
        last = {row["name"]: float(row["value"]) for row in csv.DictReader(file)}
    assert last["val/v/inferred"] < last["val/v/copy"] and last["val/v/inferred"] < last["val/v/shuffled"]


@pytest.mark.slow  # three whole runs of the command line
def test_a_killed_streaming_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    folder, recipe = tiny.videos(tmp_path / "v", count=12), tiny.recipe(tmp_path)
    command = [sys.executable, "-m", "lamplan.cli", "pretrain", str(recipe), "--data", str(folder), "--steps", "12", "--stream",
               "--workers"]
    subprocess.run([*command, "1", "--out", str(tmp_path / "whole")], check=True, capture_output=True)
    kill = """
import os, signal, sys
from lamplan.train import loop
from lamplan.train.snapshots import Snapshots
save = Snapshots.save
def die(self, step, seconds):
    save(self, step, seconds)
    if step == 5 and self.folder.parent.name == "lam":
        self.finish()
        os.kill(os.getpid(), signal.SIGKILL)
Snapshots.save = die
loop.train.__kwdefaults__["save_seconds"] = 0.0
from lamplan.cli import main
main(sys.argv[1:])
"""
    killed = subprocess.run([sys.executable, "-c", kill, *command[3:], "2", "--out", str(tmp_path / "parts")], capture_output=True)
    assert killed.returncode == -9 and not (tmp_path / "parts" / "config.json").exists()
    subprocess.run([*command, "2", "--out", str(tmp_path / "parts")], check=True, capture_output=True)
    assert (tmp_path / "parts" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
