"""How many labels it takes: the draws, and the benchmark from end to end on a tiny world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import labels
from lamplan.errors import InputError
from lamplan.report import Results
from lamplan.robot import RobotSpec
from tests import tiny
from tests.benchmarks.untrained import checkpoint_and_robot


def test_a_draw_learns_from_none_that_is_measured_on_and_the_fewer_are_among_the_more() -> None:
    known, test = list(range(5, 100)), list(range(5))
    few, many = (labels.drawn(known, test, count, (0, 1)) for count in (10, 60))
    for parts, count in ((few, 10), (many, 60)):
        everyone = [*parts.training, *parts.validation]
        assert len(everyone) == len(set(everyone)) == count and set(everyone) <= set(known) and parts.test == test
        assert len(parts.validation) == count // 10
    assert {*few.training, *few.validation} <= {*many.training, *many.validation}
    assert {*few.training} != {*labels.drawn(known, test, 10, (0, 2)).training}
    assert len(labels.drawn(known, test, 2, (0, 0)).validation) == 1


@pytest.mark.parametrize("text", ["10,x", "1", "10,200"])
def test_a_number_of_episodes_that_cannot_be_drawn_is_named(text: str) -> None:
    with pytest.raises(InputError, match="--episodes has"):
        labels.counts(text, 100)


def test_means_are_by_episode() -> None:
    np.testing.assert_allclose(labels.by_episode(np.array([1.0, 2, 3, 5]), np.array([7, 7, 7, 9])), [2, 5])


def test_the_benchmark_measures_every_row_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    robot = checkpoint_and_robot(tmp_path, "rover")
    log = tiny.log(tmp_path / "log.hdf5", RobotSpec.load(robot), episodes=12)
    command = [str(log), "--robot", str(robot), "--checkpoint", str(tmp_path / "checkpoint"), "--episodes", "2,11", "--steps", "3",
               "--batch", "8", "--device", "cpu", "--out", str(tmp_path / "out")]
    labels.main(command)
    results = Results.read(tmp_path / "out")
    errors = {row.name: row for row in results.find("labels", labels.METRIC)}
    assert not {row.metric for row in results.rows} & {"delta_xyz", "delta_xy"}  # which are sums over the axes elsewhere
    assert set(errors) == {f"{name} {size}" for name in (*labels.MOTIONS, "from_nothing") for size in (2, 11)}
    assert all(row.n == 1 and np.isfinite(row.value) for row in results.rows)  # of twelve episodes one is measured on
    assert errors["zero 2"].value == errors["zero 11"].value and errors["mean 2"].value != errors["mean 11"].value
    assert errors["regression 2"].value != errors["from_nothing 2"].value
    assert {row.name for row in results.find("labels", "next frame")} == {f"{name} {size}" for name in labels.FRAMES for size in (2, 11)}
    assert (tmp_path / "out" / "plots" / "Euclidean_motion_error-by-episodes.png").stat().st_size > 1000
    state = tmp_path / "out" / "fits" / "11-1" / "from-nothing" / "state"
    before = {path: path.stat().st_mtime for path in state.rglob("*")}
    labels.main(command)
    assert Results.read(tmp_path / "out").rows == results.rows
    assert before == {path: path.stat().st_mtime for path in state.rglob("*")}
