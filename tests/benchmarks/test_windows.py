"""Held-out windows: recorded once, the same for all rows, and played again for the oracle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.open_loop import decide_all
from benchmarks.oracle import Oracle
from benchmarks.policies import Constant
from benchmarks.windows import LONGEST_WARM_UP, Recorder, Windows, cached, play
from lamplan.errors import DataError
from lamplan.search import CEM
from tests.benchmarks.fakes import PANDA, PointWorld, encode

SEED = 1_000_000


def recorder() -> Recorder:
    return Recorder(PointWorld, play, PANDA.camera, horizon=3)


class Unmoved(PointWorld):
    """For windows that are not to be recorded: only the way to the start of the first is played."""

    steps_left = LONGEST_WARM_UP

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        assert self.steps_left > 0, "cached windows are not recorded again"
        self.steps_left -= 1
        return super().step(action)


class Larger(PointWorld):
    """The same point in pictures of twice the size."""

    def render_observation(self) -> dict[str, np.ndarray]:
        return {name: value.repeat(2, 0).repeat(2, 1) if value.ndim == 3 else value for name, value in super().render_observation().items()}


class SecondCamera(PointWorld):
    """A second picture of the same size, from elsewhere."""

    def render_observation(self) -> dict[str, np.ndarray]:
        seen = super().render_observation()
        return seen | {"wrist_image": 255 - seen["exterior_image"]}


def test_windows_are_recorded_once(tmp_path: Path) -> None:
    path = tmp_path / "windows" / "arm.npz"
    first = cached(path, recorder(), 4, SEED)
    again = cached(path, Recorder(Unmoved, play, PANDA.camera, 3), 4, SEED)
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


@pytest.mark.parametrize(("world", "camera"), [(Larger, PANDA.camera), (SecondCamera, "wrist_image")])
def test_windows_of_other_pictures_are_not_taken(tmp_path: Path, world: Callable[[], PointWorld], camera: str) -> None:
    path = tmp_path / "arm.npz"
    cached(path, recorder(), 2, SEED)
    windows = cached(path, Recorder(world, play, camera, 3), 2, SEED)
    np.testing.assert_array_equal(windows.frames, Recorder(world, play, camera, 3).record(2, SEED).frames)


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
