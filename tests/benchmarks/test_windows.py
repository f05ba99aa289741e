"""Held-out windows: recorded once, the same for all rows, and played again for the oracle."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.open_loop import decide_all
from benchmarks.oracle import Oracle
from benchmarks.policies import Constant
from benchmarks.windows import Recorder, Windows, cached, play
from lamplan.errors import DataError
from lamplan.search import CEM
from tests.benchmarks.fakes import PANDA, PointWorld, encode

SEED = 1_000_000


def recorder() -> Recorder:
    return Recorder(PointWorld, play, PANDA.camera, horizon=3)


def forbidden() -> PointWorld:
    raise AssertionError("cached windows need no simulator")


def test_windows_are_recorded_once(tmp_path: Path) -> None:
    path = tmp_path / "windows" / "arm.npz"
    first = cached(path, recorder(), 4, SEED)
    again = cached(path, Recorder(forbidden, play, PANDA.camera, 3), 4, SEED)
    assert first.frames.shape == (4, 4, 4, 4, 3) and first.states.shape == (4, 4, 7) and first.seeds.tolist() == list(range(SEED, SEED + 4))
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.states, again.states)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("episodes", "seed"), [(3, SEED), (4, SEED + 1)])
def test_windows_of_another_run_are_not_taken(tmp_path: Path, episodes: int, seed: int) -> None:
    path = tmp_path / "arm.npz"
    cached(path, recorder(), 4, SEED)
    windows = cached(path, recorder(), episodes, seed)
    assert len(windows) == episodes and windows.seeds[0] == seed


def test_the_start_of_a_window_can_be_played_again() -> None:
    record = recorder()
    windows = record.record(3, SEED)
    for i in (2, 0, 1):
        np.testing.assert_allclose(record.at_start(windows, i).state, windows.states[i, 0], atol=1e-6)


def test_a_start_that_does_not_come_back_is_a_sentence() -> None:
    record = recorder()
    windows = record.record(1, SEED)
    moved = Windows(windows.frames, windows.states + 0.1, windows.seeds)
    with pytest.raises(DataError, match="another version of the environment"):
        record.at_start(moved, 0)


def test_plans_for_all_windows_come_in_order() -> None:
    record = recorder()
    windows = record.record(5, SEED)
    decision, seconds = decide_all(Constant("prior", PANDA.high, 3), windows, record, batch=2, seed=SEED)
    assert decision.actions.shape == (5, 3, 7) and decision.predicted is None and seconds > 0
    assert (decision.actions == PANDA.high).all()


def test_the_oracle_finds_the_true_motion() -> None:
    record = recorder()
    windows = record.record(3, SEED)
    decision, _ = decide_all(Oracle(encode, PANDA, CEM(128, 8, 10, 3), None, 3), windows, record, batch=2, seed=SEED)
    moved = windows.states[:, -1, :3] - windows.states[:, 0, :3]
    # Pictures hold positions in steps of 5 mm.
    np.testing.assert_allclose(decision.actions[..., :3].sum(axis=1), moved, atol=0.012)
