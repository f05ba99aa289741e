"""Measures of pictures against closed forms, and the benchmark from end to end on a tiny world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import decoding
from lamplan import InputError, LatentActionModel
from lamplan.models.decoder import Decoder, DecoderConfig
from lamplan.report import Results
from lamplan.train.config import load_config
from tests import tiny


def test_psnr_and_ssim() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 236, (32, 32, 3), dtype=np.uint8)
    assert decoding.psnr(image + np.uint8(10), image) == pytest.approx(20 * np.log10(25.5))
    assert decoding.psnr(image, image) == pytest.approx(58.92, abs=0.01)
    assert decoding.ssim(image, image) == pytest.approx(1.0)
    assert decoding.ssim(rng.permutation(image), image) < 0.2
    # Two even images differ in the luminance term alone.
    grey = [np.full((32, 32, 3), value, np.uint8) for value in (100, 140)]
    assert decoding.ssim(*grey) == pytest.approx((2 * 100 * 140 + 2.55**2) / (100**2 + 140**2 + 2.55**2), abs=1e-4)


def test_baselines_come_from_other_clips() -> None:
    clips = [np.full((length, 4, 4, 3), value, np.uint8) for length, value in ((2, 10), (4, 40), (2, 100))]
    assert [image[0, 0, 0] for image in decoding.mean_of_others(clips)] == [60, 55, 30]
    features = [clip[:, :1, 0].astype(np.float64) for clip in clips]
    assert (decoding.nearest_of_others(features, clips, 0, features[0]) == 40).all()


def test_the_benchmark_measures_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    lam = LatentActionModel(load_config(str(tiny.recipe(tmp_path))).lam)
    lam.save(tmp_path / "tiny")
    Decoder(DecoderConfig(24, 1, 2), lam.config.encoder).save(tmp_path / "tiny", lam.encoder)
    data = tiny.videos(tmp_path / "videos", count=3, steps=6)
    command = ["--data", str(data), "--checkpoint", str(tmp_path / "tiny"), "--out", str(tmp_path / "out"), "--device", "cpu",
               "--cache", str(tmp_path / "cache")]
    decoding.main(command)
    results = Results.read(tmp_path / "out")
    names = {"decoded", "predicted", "mean_image", "previous_frame", "nearest_frame"}
    for metric in ("PSNR", "SSIM"):
        rows = results.find("videos", metric)
        assert {row.name for row in rows} == names and all(row.n == 3 and np.isfinite(row.value) for row in rows)
    untrained, before = (next(row.value for row in results.find("videos", "PSNR") if row.name == name)
                         for name in ("decoded", "previous_frame"))
    assert untrained < before
    assert (tmp_path / "out" / "videos" / "videos.mp4").stat().st_size > 500
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(InputError, match="LPIPS needs"):
        decoding.main([*command, "--lpips"])
