from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from lamplan.video import write_video
from tools.readme_picture import main, stacked


def test_the_shorter_video_stands_still_and_the_narrower_is_padded() -> None:
    high = np.zeros((2, 4, 6, 3), np.uint8)
    low = np.arange(1, 4, dtype=np.uint8)[:, None, None, None] * np.ones((3, 2, 5, 3), np.uint8)

    both = stacked([high, low])

    assert both.shape == (3, 6, 6, 3)
    assert not both[:, :4].any()
    assert [set(frame[4:, :5].ravel()) for frame in both] == [{1}, {2}, {3}]
    assert (both[:, 4:, 5] == 255).all()


def test_a_picture_moves_at_the_videos_rate_and_holds_its_end(tmp_path: Path) -> None:
    grey = np.array([30, 120, 210], np.uint8)[:, None, None, None] * np.ones((3, 32, 48, 3), np.uint8)
    write_video(tmp_path / "a.mp4", grey, 4.0)

    assert main([str(tmp_path / "new" / "a.gif"), str(tmp_path / "a.mp4"), str(tmp_path / "a.mp4"), "--scale", "0.5"]) == 0

    with Image.open(tmp_path / "new" / "a.gif") as picture:
        frames = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(picture)]
    assert [frame.shape for frame, _ in frames] == [(32, 24, 3)] * 3
    assert [frame.mean() for frame, _ in frames] == pytest.approx([30, 120, 210], abs=6)  # H.264 and its colours
    assert [duration for _, duration in frames] == [250, 250, 1500]


def test_what_is_no_video_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.mp4").write_text("text")

    assert main([str(tmp_path / "a.gif"), str(tmp_path / "no.mp4")]) == 2

    assert "no.mp4 cannot be read as video" in capsys.readouterr().err
    assert not (tmp_path / "a.gif").exists()
