"""The loader's benchmark: its bare decoder sees what the loader sees, and it writes what it says."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks import loading
from lamplan.report import Results
from lamplan.train.clips import Streaming
from tests import tiny


def test_bare_decoding_gives_the_clips_that_the_loader_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "HEIGHT", 96)
    monkeypatch.setattr(loading, "WIDTH", 128)
    data = loading.make_videos(tmp_path / "video", 3, 5.0, 0)
    options = argparse.Namespace(data=data, out=tmp_path, size=64, fps=4.0, frames=4, seed=0, batch=4)
    with Streaming(workers=1) as streaming:
        windows = loading.choose(streaming, range(2), options)
        clips = loading.new_stream(streaming, data, options)
        drawn = np.concatenate([clips.draw(step, 4).numpy() for step in range(2)])
    for clip, (video, start_s) in zip(drawn, windows, strict=True):
        assert np.abs(clip.astype(int) - loading.bare(str(video.path), start_s, 4, 4.0, 64)).mean() < 1


def test_the_benchmark_writes_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tiny.videos(tmp_path / "videos", count=4), tmp_path / "out"
    loading.main(["--quick", "--data", str(data), "--out", str(out), "--size", "64", "--frames", "4", "--workers", "1"])
    results = Results.read(out)
    assert {row.name for row in results.rows} == {"bare", "loader_1", "shards_1", "loader_all"}
    assert all(row.value > 0 and row.n == 2 for row in results.rows)
    assert [row.value for row in results.rows if (row.name, row.metric) == ("bare", "share")] == [1.0]
    assert (out / "report.html").exists() and "clips/s" in capsys.readouterr().out
