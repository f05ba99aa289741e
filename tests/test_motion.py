"""Actions as differences of poses, composed to paths again, and said in other axes, against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lamplan.motion import arm_motion, composed, differences, poses_in, turned

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
