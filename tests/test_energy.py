"""The energy check: a world that moves as it is told has its minimum at the truth, one that drags or ignores does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lamplan.energy import CURVE, PLANE, EnergyReport, _moments, energy_check, energy_of
from lamplan.errors import DataError
from lamplan.logs import Episode
from lamplan.robot import RobotSpec
from lamplan.rollout import Past
from tests.logs.helpers import ROOT, spec

PANDA = spec("panda")


class Point:
    """Features are the state; an action is added to it, times `gain`, and so is a `drift`."""

    device = torch.device("cpu")

    def __init__(self, states: np.ndarray, gain: float = 1.0, drift: float = 0.0) -> None:
        self.states, self.gain, self.drift = states, gain, drift

    def candidate_bytes(self, horizon: int, slope: bool = False) -> int:
        return 1000

    def encode(self, images: Tensor) -> Tensor:
        return torch.stack([torch.from_numpy(self.states[t]).float()[None] for t in images[:, 0, 0, 0].tolist()])

    def start(self, frames: Tensor) -> Past:
        return Past(frames[:, -1], None)

    def after(self, past: Past, action: Tensor) -> Past:
        return Past(self.rollout(past, action[:, None, None])[:, 0, 0], None)

    def rollout(self, past: Past, actions: Tensor) -> Tensor:
        return past.present[:, None, None] + self.gain * actions.cumsum(2)[..., None, :] + self.drift

    def propose(self, past: Past, goal: Tensor) -> None:
        return None


def check(out: Path, count: int = 8, **world: float) -> EnergyReport:
    rng = np.random.default_rng(0)
    states = np.cumsum(rng.uniform(-0.05, 0.05, (30, 7)), axis=0)
    states[:, 3:6] = 0  # so that an action is the difference of two states in every number
    episodes = [Episode(states[i : i + 10], None, 4.0, (PANDA.camera,), f"episode {i}", lambda camera, at, i=i: _pictures(at + i))
                for i in (0, 10, 20)]
    return energy_of(Point(states, **world), PANDA, episodes, 2, out, count=count, seed=0)


def _pictures(numbers: np.ndarray) -> np.ndarray:
    return np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (len(numbers), 1, 1, 3))


def test_where_the_model_is_right_the_minimum_is_at_the_true_action(tmp_path: Path) -> None:
    found = check(tmp_path)
    assert not found.trouble and found.steps == 2 and found.episodes == 3
    assert [axis.verdict for axis in found.axes] == ["at the true action"] * 7
    assert all(axis.distance[0] == pytest.approx(0, abs=1e-9) for axis in found.axes)
    assert found.beats_zero.all() and found.beats_random.all() and (found.below_random == 1).all()
    assert found.curves.shape == (len(found.beats_zero), 7, CURVE) and found.planes[0, 1].shape == (len(found.beats_zero), PLANE, PLANE)
    middle = found.planes[0, 1][:, PLANE // 2, PLANE // 2]
    np.testing.assert_allclose(middle, found.curves[:, 0, CURVE // 2], atol=1e-6)
    np.testing.assert_allclose(middle, 0, atol=1e-6)
    assert Image.open(found.picture).size[0] > 800
    said = str(found)
    assert "dx" in said and "beats zero action in 100% [100%, 100%]" in said and "2 steps apart" in said


def test_a_drift_moves_the_minimum_beside_it_by_as_much(tmp_path: Path) -> None:
    found = check(tmp_path, drift=0.06)
    assert found.trouble
    assert found.axes[0].verdict == "beside the true action"
    assert found.axes[0].offset[0] == pytest.approx(-0.06, abs=found.axes[0].grid / 2)
    row = found.planes[0, 1].mean(0)
    least = np.unravel_index(row.argmin(), row.shape)
    assert least[0] < PLANE // 2 and least[1] < PLANE // 2


@pytest.mark.parametrize("source", ["commanded", "measured"])
def test_the_true_action_is_the_one_that_counts_for_the_robot(source: Literal["measured", "commanded"], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    states = np.zeros((10, 7))
    states[:, 0] = 0.09 * np.arange(10) + 0.001 * rng.normal(size=10)
    commands = np.concatenate([np.diff(states, axis=0), np.zeros((1, 7))])
    lagging = Episode(states / 3, commands, 4.0, (PANDA.camera,), "episode 0", lambda camera, at: _pictures(at))
    found = energy_of(Point(states), replace(PANDA, source=source), [lagging], 2, tmp_path, count=4, seed=0)
    assert (found.axes[0].verdict == "at the true action") == (source == "commanded")
    # The measured motion is 0.06 m, a third of what the world needs; farther than 0.1 m beside it is not looked.
    assert found.axes[0].offset[0] == pytest.approx(0 if source == "commanded" else 0.1, abs=1e-6)


def test_a_model_that_ignores_actions_has_no_minimum(tmp_path: Path) -> None:
    found = check(tmp_path, gain=0.0)
    assert found.trouble and not found.beats_zero.any()
    assert found.axes[0].verdict == "the cost hardly depends on it"
    assert np.ptp(found.curves, axis=2).max() < 1e-6


def test_pairs_are_spread_over_the_episodes_and_no_more_than_asked() -> None:
    episodes = [Episode(np.zeros((10, 7)), None, 4.0, (), f"episode {i}", lambda camera, at: _pictures(at)) for i in range(3)]
    picked = {count: [(episode.source[-1], t) for episode, t in _moments(episodes, 2, count)] for count in (2, 3, 7)}
    assert picked == {2: [("0", 0), ("2", 0)], 3: [("0", 0), ("1", 0), ("2", 0)], 7: [(str(i), t) for i in range(3) for t in (0, 7)]}


def test_the_shipped_model_on_a_real_start_and_goal(shared_data: Path, tmp_path: Path) -> None:
    paths = ROOT / "controllers" / "panda", ROOT / "checkpoints" / "wild-small"
    found = energy_check(shared_data / "franka" / "franka_example_traj.npz", *paths, tmp_path)
    assert found.steps == 1 and found.episodes == 1 and np.isfinite(found.curves).all()
    assert found.picture.stat().st_size > 10_000 and "too few for intervals" in str(found)
    with pytest.raises(DataError, match="5 Hz"):
        energy_check(shared_data / "bridge_rlds", *paths, tmp_path)
    assert RobotSpec.load(paths[0]).cameras == ("exterior_image",)
