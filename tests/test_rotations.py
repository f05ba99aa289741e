"""Rotations against scipy's, also where angles are hard: in gimbal lock, near half a turn, and near none."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lamplan import rotations

HARD = [0.0, 1e-12, 1e-5, np.pi / 4, np.pi / 2 - 1e-5, np.pi / 2 - 1e-9, np.pi / 2, 2.0, np.pi - 1e-9, np.pi]
ANGLE = st.one_of(st.floats(-np.pi, np.pi), st.sampled_from([*HARD, *(-angle for angle in HARD)]))
ANGLES = st.tuples(ANGLE, ANGLE, ANGLE).map(np.array)
# In gimbal lock scipy and this module both forget a turn of up to the lock's width.
WIDTH = 3e-7


def apart(one: Rotation, other: Rotation) -> float:
    return float(np.max((one * other.inv()).magnitude()))


def scipys(turns: np.ndarray | torch.Tensor) -> Rotation:
    return Rotation.from_quat(np.asarray(turns, dtype=np.float64))


@settings(max_examples=300, deadline=None)
@given(angles=ANGLES)
def test_turns_are_those_of_scipy(angles):
    turns, theirs = rotations.from_euler(angles), Rotation.from_euler("xyz", angles)
    assert apart(scipys(turns), theirs) < 1e-12
    back = rotations.to_euler(turns)
    locked = abs(abs(back[1]) - np.pi / 2) < WIDTH
    assert apart(Rotation.from_euler("xyz", back), theirs) < (WIDTH if locked else 1e-12)
    assert np.abs(back).max() <= np.pi and abs(back[1]) <= np.pi / 2 + 1e-15
    vector = rotations.to_rotvec(turns)
    assert apart(Rotation.from_rotvec(vector), theirs) < 1e-12 and np.linalg.norm(vector) <= np.pi + 1e-12
    assert apart(scipys(rotations.from_rotvec(vector)), theirs) < 1e-12
    assert apart(scipys(rotations.from_matrix(theirs.as_matrix())), theirs) < 1e-12


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_numbers_of_random_turns_are_those_of_scipy(seed):
    theirs = Rotation.random(5, random_state=seed)
    turns = theirs.as_quat()
    np.testing.assert_allclose(rotations.to_euler(turns), theirs.as_euler("xyz"), atol=1e-9)
    np.testing.assert_allclose(rotations.to_rotvec(turns), theirs.as_rotvec(), atol=1e-12)
    np.testing.assert_allclose(rotations.to_euler(-2 * turns), rotations.to_euler(turns), atol=1e-12)
    np.testing.assert_allclose(rotations.composed(turns[1:], turns[:-1]), (theirs[1:] * theirs[:-1]).as_quat(), atol=1e-12)
    over = Rotation.from_quat(rotations.between(turns[:-1], turns[1:]))
    assert apart(over, theirs[1:] * theirs[:-1].inv()) < 1e-12


@pytest.mark.parametrize("middle", [np.pi / 2, -np.pi / 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_in_gimbal_lock_the_third_angle_is_zero(middle, dtype):
    angles = torch.tensor([[0.3, middle, 0.8], [-2.0, middle, 3.0], [0.0, middle, 0.0]], dtype=dtype)
    back = rotations.to_euler(rotations.from_euler(angles))
    assert (back[:, 2] == 0).all()
    limit = WIDTH if dtype == torch.float64 else 3e-6
    assert apart(Rotation.from_euler("xyz", back.double().numpy()), Rotation.from_euler("xyz", angles.double().numpy())) < limit


def test_a_path_of_ten_thousand_turns_stays_exact_and_of_unit_length():
    theirs = Rotation.from_euler("xyz", np.random.default_rng(0).uniform(-0.5, 0.5, (10_000, 3)))
    turns = rotations.running(torch.from_numpy(theirs.as_quat()))
    np.testing.assert_allclose(turns.norm(dim=-1).numpy(), 1.0, atol=1e-14)
    passed, every = Rotation.identity(), []
    for turn in theirs:
        passed = turn * passed
        every.append(passed.as_quat())
    assert apart(scipys(turns.numpy()), Rotation.from_quat(np.stack(every))) < 1e-9
    back = Rotation.from_quat(rotations.between(turns[:-1], turns[1:]).numpy())
    assert apart(back, theirs[1:]) < 1e-12


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7, 8, 9])
def test_running_turns_of_any_number_of_steps(steps):
    turns = Rotation.random(2 * steps, random_state=1).as_quat().reshape(2, steps, 4) if steps else np.empty((2, 0, 4))
    found = rotations.running(turns)
    assert found.shape == turns.shape
    for one, each in zip(found, turns, strict=True):
        passed = Rotation.identity()
        for turn, place in zip(each, one, strict=True):
            passed = Rotation.from_quat(turn) * passed
            assert apart(Rotation.from_quat(place), passed) < 1e-12


@settings(max_examples=60, deadline=None)
@given(angles=ANGLES)
def test_gradients_are_finite_everywhere(angles):
    for dtype in (torch.float64, torch.float32):
        leaf = torch.tensor(angles, dtype=dtype, requires_grad=True)
        turns = rotations.from_euler(leaf)
        (rotations.to_euler(turns).sum() + rotations.from_rotvec(rotations.to_rotvec(turns)).sum()).backward()
        assert leaf.grad is not None and torch.isfinite(leaf.grad).all()


def test_gradients_are_those_of_differences_away_from_the_lock():
    angles = torch.tensor([[0.4, -0.9, 2.0], [-1.0, 0.3, 0.1], [1e-7, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda some: rotations.to_euler(rotations.running(rotations.from_euler(some))), angles)
    assert torch.autograd.gradcheck(lambda some: rotations.from_rotvec(rotations.to_rotvec(rotations.from_euler(some)) / 3), angles)
