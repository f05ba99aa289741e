"""Growth of memory over thousands of plans, and going on after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.run import Run
from benchmarks.soak import FILE_NAME, SETTLED, memory_slope, read, soak
from lamplan.errors import InputError
from lamplan.planner import Planner
from lamplan.report import Results
from lamplan.search import CEM
from tests.benchmarks.fakes import PANDA, PointDynamics

IMAGES = np.zeros((2, 4, 4, 3), np.uint8)


def test_the_slope_is_each_processs_own_growth_whatever_its_level() -> None:
    at = np.arange(400)
    lines = np.concatenate([np.stack([np.full(400, process), at * 0, at * 0, level + 0.003 * at], axis=1)
                            for process, level in ((0.0, 500.0), (1.0, 300.0))])
    assert memory_slope(lines) == pytest.approx(3.0)
    assert memory_slope(lines[:SETTLED]) == 0.0


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "soak.csv"
    path.write_text("0,0.1,0.1,300.0\n0,0.2,0.1,301.0\n0,0.1", encoding="utf-8")
    np.testing.assert_allclose(read(path)[:, 3], [300.0, 301.0])
    assert path.read_text(encoding="utf-8").endswith("301.0\n")


def soaked(out: Path, plans: int, commit: str = "abc", threads: int = 1, weights: str = "1234") -> Results:
    run = Run(Results("latency", "", commit, "cpu", 0, {"threads": threads}), out, 1)
    soak(Planner(PointDynamics(), PANDA, CEM(4, 1, 2, 1)), IMAGES, plans, run, {"weights": weights})
    return run.results


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    soaked(tmp_path, 3)
    assert {row.n for row in soaked(tmp_path, 20).rows if row.metric == "plan_time"} == {2}
    assert read(tmp_path / FILE_NAME)[:, 0].tolist() == [0.0] * 3 + [1.0] * 17


@pytest.mark.parametrize(("other", "differs"), [({"commit": "def"}, "commit: abc, now def"), ({"threads": 2}, "threads: 1, now 2"),
                                                ({"weights": "5678"}, "weights: 1234, now 5678")])
def test_plans_of_another_run_are_not_taken(tmp_path: Path, other: dict[str, Any], differs: str) -> None:
    soaked(tmp_path, 20)
    with pytest.raises(InputError, match=rf"soak.csv are of another run \({differs}\): give another --out, or delete that file"):
        soaked(tmp_path, 20, **other)
    (tmp_path / FILE_NAME).unlink()
    soaked(tmp_path, 20, **other)


def test_plans_that_nobody_noted_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("0,0.1,0.1,300.0\n" * 20, encoding="utf-8")
    with pytest.raises(InputError, match="an older one, which was not noted"):
        soaked(tmp_path, 20)
