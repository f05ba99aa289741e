"""The generator of wild video: repeatable, resumable, unlabelled, moving, and without the benchmark's robots."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("envs", reason="the worlds need the extra sim")

from envs.wild.__main__ import main
from envs.wild.clips import FIRST_HELD_OUT_SEED, WildClips, family_of
from envs.wild.families import FAMILIES
from envs.wild.generate import Order, clip_file, generate
from envs.wild.kits import ARMS, BODIES, HANDS, load_kit
from envs.wild.motion import Wander
from envs.wild.textures import random_sky, random_texture
from lamplan.errors import InputError
from lamplan.video import read_clip

SIZE, FRAMES = 64, 6
ORDER = Order(seed=4, frames=FRAMES, size=SIZE)
CLIPS = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wild")
    generate(ORDER, out, CLIPS, workers=1)
    return out


def test_clips_are_ordinary_video_and_listed_without_actions(corpus: Path) -> None:
    lines = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == [clip_file(i) for i in range(CLIPS)]
    for line in lines:
        assert set(line) == {"file", "seed", "index", "family"}
        assert line["family"] == family_of("wild", ORDER.seed, line["index"])
        assert read_clip(corpus / line["file"], fps=4.0, size=SIZE).shape == (FRAMES, SIZE, SIZE, 3)
    kinds = {path.suffix for path in corpus.rglob("*") if path.is_file()}
    assert kinds == {".mp4", ".json", ".jsonl"}


def test_a_second_run_skips_what_exists_and_remakes_the_same_bytes(corpus: Path) -> None:
    files = [corpus / clip_file(i) for i in range(CLIPS)]
    before = [file.read_bytes() for file in files]
    files[1].unlink()
    stamps = [files[0].stat().st_mtime_ns, files[2].stat().st_mtime_ns]
    generate(ORDER, corpus, CLIPS, workers=1)
    assert [file.read_bytes() for file in files] == before
    assert [files[0].stat().st_mtime_ns, files[2].stat().st_mtime_ns] == stamps


def test_another_order_is_refused_in_the_same_folder(corpus: Path) -> None:
    with pytest.raises(InputError, match="choose another folder"):
        generate(Order(seed=5, frames=FRAMES, size=SIZE), corpus, CLIPS, workers=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_renders_moving_pictures(family: str) -> None:
    maker = WildClips(seed=11, frames=FRAMES, size=SIZE, fps=4.0)
    try:
        frames = maker.make_family(family, index=0)
    finally:
        maker.close()
    assert frames.shape == (FRAMES, SIZE, SIZE, 3) and frames.dtype == np.uint8
    change = np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2, 3))
    assert np.median(change) > 0.5
    assert frames.std() > 10


def test_the_benchmarks_robots_are_held_out() -> None:
    assert not any("panda" in name for name in [*ARMS, *BODIES, *HANDS])
    assert not any("panda" in gripper for gripper, _ in ARMS.values())
    with pytest.raises(InputError, match="held out"):
        load_kit("panda")


def test_benchmark_seeds_are_held_out_of_in_domain_video() -> None:
    with pytest.raises(InputError, match="held out"):
        Order("rover", seed=FIRST_HELD_OUT_SEED - 2).check(clips=3)


@pytest.mark.parametrize(
    "wrong", [["--clips", "0"], ["--workers", "0"], ["--frames", "1"], ["--size", "33"], ["--fps", "0"]]
)
def test_bad_requests_end_with_a_sentence_and_status_2(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "out"), "--clips", "1", *wrong]) == 2
    assert capsys.readouterr().err.strip().endswith(".")
    assert not (tmp_path / "out").exists()


def test_signals_stay_in_their_box_and_are_smooth() -> None:
    path = Wander(np.random.default_rng(0), -np.ones(3), np.ones(3), duration_s=6.0)
    values = np.stack([path(t) for t in np.arange(0.0, 6.0, 0.01)])
    assert np.abs(values).max() <= 1.0
    assert np.abs(np.diff(values, axis=0)).max() < 0.06


def test_textures_have_the_shapes_that_mujoco_takes() -> None:
    rng = np.random.default_rng(0)
    assert random_texture(rng, 32).shape == (32, 32, 3)
    assert random_sky(rng, 16).shape == (96, 16, 3)
