"""Episodes at another rate, and some of their frames alone."""

import tracemalloc

import numpy as np
import pytest

from lamplan.errors import InputError
from lamplan.logs import Episode


def episode(steps: int = 31, rate_hz: float = 15.0, times_s: np.ndarray | None = None) -> Episode:
    """Step t has the state (t, 0, 0) and an image of value t."""
    states = np.zeros((steps, 3))
    states[:, 0] = np.arange(steps)
    return Episode(states, np.zeros((steps, 3)), rate_hz, ("front",), "log: 0",
                   lambda camera, some: np.broadcast_to(some.astype(np.uint8)[:, None, None, None], (len(some), 4, 4, 3)), times_s=times_s)


def test_frames_of_some_steps():
    assert episode().frames("front", np.array([3, 5]))[:, 0, 0, 0].tolist() == [3, 5]
    assert episode().frames("front", slice(0, 4))[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert len(episode().frames("front")) == 31


def test_a_lower_rate_takes_the_nearest_steps():
    slower = episode().resampled(4.0)  # every 3.75 steps, two seconds
    assert slower.states[:, 0].tolist() == [0, 4, 7, 11, 15, 19, 22, 26, 30]
    assert slower.frames("front")[:, 0, 0, 0].tolist() == [0, 4, 7, 11, 15, 19, 22, 26, 30]
    assert slower.frames("front", slice(1, 3))[:, 0, 0, 0].tolist() == [4, 7]
    assert slower.actions is None
    assert slower.rate_hz == 4.0


def test_the_recordings_clock_counts_and_not_its_rate():
    times = 100 + np.arange(31) / 10.0  # the header says 15 Hz, the clock 10
    assert episode(times_s=times).resampled(5.0).states[:3, 0].tolist() == [0, 2, 4]


@pytest.mark.parametrize("seed", range(20))
def test_the_nearest_step_is_that_of_all_steps(seed):
    rng = np.random.default_rng(seed)
    steps = 0.01 * rng.integers(1, 30, rng.integers(1, 200))  # of a coarse clock, so that some targets lie just between two steps
    times = np.concatenate([[0.0], np.cumsum(steps)])
    found = episode(len(times), 20.0, times).resampled(rate_hz := rng.choice([0.5, 1.0, 2.5, 4.0, 7.3, 10.0, 19.0]))
    targets = np.arange(int(np.floor(times[-1] * rate_hz + 1e-6)) + 1) / rate_hz
    assert found.states[:, 0].tolist() == np.unique(np.abs(times[None] - targets[:, None]).argmin(axis=1)).tolist()


def test_of_a_single_step_that_step_remains():
    assert episode(1, 20.0).resampled(5.0).frames("front").shape == (1, 4, 4, 3)


def test_an_hour_is_resampled_in_little_memory():
    hour = episode(30 * 3600, 30.0, np.arange(30 * 3600) / 30)
    tracemalloc.start()
    slower = hour.resampled(15.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(slower.states[:, 0], np.arange(0, 30 * 3600, 2)) and peak < 50e6


def test_the_same_rate_is_the_same_episode_and_a_higher_one_an_error():
    same = episode()
    assert same.resampled(15.0) is same
    with pytest.raises(InputError, match="15 Hz"):
        same.resampled(30.0)
