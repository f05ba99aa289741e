"""Growth of memory over thousands of plans, and going on after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak import SETTLED, memory_slope, read


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
