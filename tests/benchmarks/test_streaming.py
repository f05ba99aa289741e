"""The benchmark of streaming: it encodes the video that it says, and its memory does not grow with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import streaming
from lamplan.lam import LatentActionModel
from lamplan.models.encoder import EncoderConfig
from lamplan.report import Results
from tests.benchmarks.untrained import checkpoint_and_robot


def test_it_encodes_the_whole_video_and_says_what_it_held(tmp_path: Path) -> None:
    checkpoint_and_robot(tmp_path, "panda")
    config: EncoderConfig = LatentActionModel.load(tmp_path / "checkpoint").config.encoder
    streaming.main(["--checkpoint", str(tmp_path / "checkpoint"), "--minutes", "1.5", "--device", "cpu", "--out", str(tmp_path / "out")])
    values = {row.metric: row.value for row in Results.read(tmp_path / "out").rows}
    assert values["frames"] == 360 and values["rate"] > 0
    assert 0 < values["peak, first minute"] <= values["peak, end"]
    assert values["features of 1.5 min, fp16"] == pytest.approx(360 * config.side**2 * config.width * 2 / 2**30)
