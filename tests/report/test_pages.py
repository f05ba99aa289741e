"""Plots, panels and the self-contained page."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamplan.report import Results, plots
from lamplan.report.html import write_report
from lamplan.report.panels import nearest_frames, side_by_side
from lamplan.report.plots import all_bar_charts, paths_from_above
from lamplan.video import write_video


def test_every_task_and_metric_gets_a_chart(tmp_path: Path) -> None:
    results = Results("manipulation", "", "", "cpu", 0)
    for name in ("lam", "zero"):
        results.add(name, "open_loop", "delta_xyz", "m", np.array([0.1, 0.2, 0.3]))
        results.add(name, "reach", "success", "share", np.array([1.0, 1.0, 1.0]))
    charts = all_bar_charts(results, tmp_path)
    assert [chart.name for chart in charts] == ["open_loop-delta_xyz.png", "reach-success.png"]
    assert all(Image.open(chart).size[0] > 100 for chart in charts)


@pytest.mark.parametrize(("fewer", "said"), [(64, "n = 64"), (16, "n = 16 to 64")])
def test_a_chart_says_how_many_samples_its_bars_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fewer: int, said: str) -> None:
    results, drawn = Results("manipulation", "", "", "cpu", 0), []
    for name, count in (("zero", 64), ("oracle", fewer)):
        results.add(name, "open_loop", "delta_xyz", "m", np.ones(count))
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: drawn.append(figure) or path)
    plots.bar_chart(results.rows, tmp_path / "a.png")
    assert drawn[0].axes[0].get_xlabel().endswith(f"95 % interval, {said}")


def test_paths_are_drawn(tmp_path: Path) -> None:
    path = paths_from_above({"true": np.eye(2), "lam": np.zeros((3, 2))}, tmp_path / "a.png", "episode 0")
    assert path.stat().st_size > 1000


def test_panels_stand_side_by_side_on_even_sides() -> None:
    red, blue = np.zeros((2, 32, 32, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    picture = side_by_side({"observed": red, "goal": blue}, footer="0.25 s", height=33)
    assert picture.dtype == np.uint8 and picture.shape[0] % 2 == 0 and picture.shape[1] % 2 == 0
    middle = picture[picture.shape[0] // 2]
    assert tuple(middle[5]) == (255, 0, 0) and tuple(middle[45]) == (0, 0, 255)


def test_nearest_frame_is_found() -> None:
    bank = np.random.default_rng(0).normal(size=(20, 4, 3))
    order = np.array([7, 0, 19])
    assert (nearest_frames(bank[order] + 0.01, bank) == order).all()


def test_page_holds_everything_and_escapes_what_it_shows(tmp_path: Path) -> None:
    results = Results("manipulation", "python <script>alert(1)</script>", "abc", "cpu", 0, {"open_loop": "300 & 15"})
    results.add("<lam>", "open_loop", "delta_xyz", "m", np.ones(3))
    video = tmp_path / "reach.mp4"
    write_video(video, np.zeros((3, 32, 32, 3), np.uint8), 4.0)
    page = write_report([results], tmp_path / "report.html", all_bar_charts(results, tmp_path / "plots"), [video]).read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "&lt;lam&gt;" in page and "300 &amp; 15" in page
    assert "Means of n samples with bootstrap 95 % intervals." in page  # on logs a sample is a window, not an episode
    assert page.count("data:image/png;base64,") == 1 and page.count("data:video/mp4;base64,") == 1
    assert "http" not in page.replace("http-equiv", "")
    assert not list(tmp_path.glob("*.part"))
