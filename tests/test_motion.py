"""Actions as differences of poses, composed to paths again, and said in other axes, against closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lamplan.motion import arm_motion, between, composed, differences, divided, poses_in, turned

# x right, y down, z ahead of a camera that stands before the base, 1 m up, and looks back at it: its z is the base's -x.
FACING = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def random_arm(seed: int, steps: int = 6, most: float = 0.6) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-most, most, (steps, 7))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["arm", "mobile"]))
def test_a_path_composed_of_actions_has_them_as_its_differences(seed, kind):
    actions = random_arm(seed)[:, : 7 if kind == "arm" else 3]
    path = composed(kind, actions)
    assert path.shape == (7, actions.shape[1]) and not path[0].any()
    np.testing.assert_allclose(differences(kind, path), actions, atol=1e-9)


def test_turns_of_an_arm_compose_as_matrices_about_the_fixed_axes():
    actions = random_arm(3, steps=4)
    over = differences("arm", composed("arm", actions)[[0, 4]])[0]
    turns = [Rotation.from_euler("xyz", action[3:6]).as_matrix() for action in actions]
    np.testing.assert_allclose(Rotation.from_euler("xyz", over[3:6]).as_matrix(), turns[3] @ turns[2] @ turns[1] @ turns[0], atol=1e-12)
    np.testing.assert_allclose(over[[0, 1, 2, 6]], actions[:, [0, 1, 2, 6]].sum(axis=0), atol=1e-12)
    assert np.abs(over[3:6] - actions[:, 3:6].sum(axis=0)).max() > 0.05, "angles that are only added up are another turn"


def test_a_quarter_turn_twice_is_a_half_turn_and_a_circle_closes():
    quarter = np.array([[0.1, 0, 0, 0, 0, np.pi / 2, 0]])
    path = composed("arm", np.repeat(quarter, 2, axis=0))
    np.testing.assert_allclose(np.abs(path[2]), [0.2, 0, 0, 0, 0, np.pi, 0], atol=1e-12)
    square = composed("mobile", np.tile([1.0, 0.0, np.pi / 2], (4, 1)))
    np.testing.assert_allclose(square, [[0, 0, 0], [1, 0, np.pi / 2], [1, 1, np.pi], [0, 1, 3 * np.pi / 2], [0, 0, 2 * np.pi]], atol=1e-12)


@pytest.mark.parametrize(("base", "camera"), [
    ([1, 0, 0], [0, 0, -1]),  # away from the base is towards the camera
    ([0, 1, 0], [1, 0, 0]),
    ([0, 0, 1], [0, -1, 0]),  # up is against the camera's y
])
def test_a_motion_and_a_turn_in_the_axes_of_a_camera_that_faces_the_base(base, camera):
    said, seen = (np.concatenate([vector, np.multiply(vector, 0.3), [0.5]]) for vector in (base, camera))
    np.testing.assert_allclose(turned(said, FACING.T), seen, atol=1e-12)
    np.testing.assert_allclose(turned(seen, FACING), said, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_to_the_camera_and_back_is_nothing_and_poses_turn_as_their_differences_do(seed):
    axes = Rotation.random(random_state=seed).as_matrix()
    actions = random_arm(seed)
    seen = turned(actions, axes.T)
    np.testing.assert_allclose(turned(seen, axes), actions, atol=1e-9)
    np.testing.assert_allclose(turned(actions.reshape(2, 3, 7), axes.T).reshape(6, 7), seen, atol=1e-12)
    path = composed("arm", actions)
    path[:, :3] += 0.4
    np.testing.assert_allclose(differences("arm", poses_in(path, axes)), seen, atol=1e-9)
    # The turn itself: the same rotation, conjugated.
    a, b = (Rotation.from_euler("xyz", one[:, 3:6]).as_matrix() for one in (actions, seen))
    np.testing.assert_allclose(b, axes.T @ a @ axes, atol=1e-9)


def test_a_move_seen_by_the_camera_brings_the_arm_where_it_was_to_go():
    _, before, after = composed("arm", random_arm(11, steps=2))
    seen = arm_motion(poses_in(before[None], FACING), poses_in(after[None], FACING))[0]
    told = turned(seen, FACING)
    np.testing.assert_allclose(before[:3] + told[:3], after[:3], atol=1e-9)
    reached = Rotation.from_euler("xyz", told[3:6]) * Rotation.from_euler("xyz", before[3:6])
    np.testing.assert_allclose(reached.as_matrix(), Rotation.from_euler("xyz", after[3:6]).as_matrix(), atol=1e-9)


def every_way(kind, actions, axes):
    """What each function of motion makes of actions (..., T, A)."""
    found = [path := composed(kind, actions), differences(kind, path), divided(kind, actions, 3), between(kind, path, path[..., -1:, :])]
    return found + ([turned(actions, axes), poses_in(path, axes)] if kind == "arm" else [])


def batch(kind: str) -> np.ndarray:
    return np.random.default_rng(5).uniform(-0.5, 0.5, (2, 3, 6, 7 if kind == "arm" else 3))


@pytest.mark.parametrize("kind", ["arm", "mobile"])
def test_a_batch_is_its_episodes_one_at_a_time(kind):
    actions, axes = batch(kind), Rotation.random(random_state=2).as_matrix()
    together = every_way(kind, actions, axes)
    for place in np.ndindex(actions.shape[:2]):
        for whole, one in zip(together, every_way(kind, actions[place], axes), strict=True):
            np.testing.assert_allclose(whole[place], one, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["arm", "mobile"])
def test_tensors_give_what_numpy_gives_in_their_own_precision(kind):
    actions, axes = batch(kind), Rotation.random(random_state=3).as_matrix()
    numbers = every_way(kind, actions, axes)
    for dtype, atol in ((torch.float64, 1e-13), (torch.float32, 5e-6)):
        for found, number in zip(every_way(kind, torch.tensor(actions, dtype=dtype), axes), numbers, strict=True):
            assert found.dtype == dtype
            np.testing.assert_allclose(found.numpy(), number, rtol=0, atol=atol)
    for found in every_way(kind, actions.astype(np.float32), axes):
        assert found.dtype == np.float64, "NumPy arrays go through in float64"


def test_a_robot_that_stands_still_does_not_move_at_all():
    states = np.random.default_rng(6).uniform(-4, 4, (1000, 7))
    assert not between("arm", states, states).any() and not between("mobile", states[:, :3], states[:, :3]).any()


@pytest.mark.parametrize("kind", ["arm", "mobile"])
def test_nothing_looks_at_the_numbers_on_the_way(kind):
    """On the device `meta` there are none to look at, so that a GPU need not be waited for either."""
    actions, axes = torch.from_numpy(batch(kind)), torch.eye(3, dtype=torch.float64)
    there = every_way(kind, actions.to("meta"), axes.to("meta"))
    assert [found.shape for found in there] == [found.shape for found in every_way(kind, actions, axes)]
    assert all(found.device.type == "meta" for found in there)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["arm", "mobile"])
def test_motion_stays_on_the_gpu(kind):
    actions, axes = torch.from_numpy(batch(kind)), Rotation.random(random_state=4).as_matrix()
    for found, here in zip(every_way(kind, actions.cuda(), axes), every_way(kind, actions, axes), strict=True):
        assert found.is_cuda
        torch.testing.assert_close(found.cpu(), here, rtol=0, atol=1e-12)


def test_a_path_of_ten_thousand_steps_has_its_actions_as_differences():
    actions = np.random.default_rng(0).uniform(-0.3, 0.3, (10_000, 7))
    back = differences("arm", composed("arm", actions))
    turns = Rotation.from_euler("xyz", back[:, 3:6]) * Rotation.from_euler("xyz", actions[:, 3:6]).inv()
    away = np.abs(np.abs(composed("arm", actions)[:, 4]) - np.pi / 2) > 1e-6
    assert turns.magnitude()[away[1:] & away[:-1]].max() < 1e-9 and away.mean() > 0.999
    np.testing.assert_allclose(back[:, [0, 1, 2, 6]], actions[:, [0, 1, 2, 6]], atol=1e-9)


def test_the_end_of_a_path_has_a_gradient_in_each_of_its_actions():
    actions = torch.from_numpy(random_arm(7)).requires_grad_()
    composed("arm", actions)[-1, 3:6].sum().backward()
    assert torch.isfinite(actions.grad).all() and (actions.grad[:, 3:6].abs().sum(-1) > 0.1).all()
