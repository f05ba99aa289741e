"""The Franka set of JEPA-WMs in its exact layout (synthetic), and the real start/goal pair of V-JEPA 2."""

import shutil

import h5py
import numpy as np
import pytest

from lamplan.errors import DataError
from lamplan.logs import open_log
from tests.logs.damage_hdf5 import put
from tests.logs.synthetic import STEPS, arm_states, franka, pictures, start_goal

SEEN = "episode_data/observation"


def test_an_episode_is_read_to_known_values(tmp_path):
    for path in (franka(tmp_path / "a"), tmp_path / "a" / "episode.h5"):
        (found,) = open_log(path)
        np.testing.assert_allclose(found.states, arm_states())
        assert found.cameras == ("exterior_image_1_left", "exterior_image_2_left") and found.rate_hz == 30.0 and found.actions is None
        np.testing.assert_array_equal(found.frames("exterior_image_2_left"), pictures(1, STEPS, 12, 16))
        np.testing.assert_array_equal(found.frames("exterior_image_1_left", np.array([9, 2])), pictures(0, STEPS, 12, 16)[[9, 2]])


def test_the_published_stride_of_eight_is_a_rate(tmp_path):
    slower = open_log(franka(tmp_path))[0].resampled(30 / 8)
    np.testing.assert_allclose(slower.states, arm_states()[::8])


def test_a_folder_of_runs_is_one_log(tmp_path):
    for run in (2, 10, 1):
        franka(tmp_path / "pick" / "liftcup_v0" / f"run_{run}", steps=run + 1)
    assert [len(found) for found in open_log(tmp_path)] == [2, 3, 11]


def huge(path):
    with h5py.File(path, "r+") as file:
        del file[f"{SEEN}/exterior_image_1_left"]
        file[SEEN].create_dataset("exterior_image_1_left", (STEPS, 2**16, 2**16, 3), "u1", chunks=(1, 64, 64, 3))


DAMAGE = {
    "no pose": (put(f"{SEEN}/cartesian_position", None), "cartesian_position"),
    "flat pose": (put(f"{SEEN}/cartesian_position", np.zeros(STEPS)), "cartesian_position"),
    "pose with gripper": (put(f"{SEEN}/cartesian_position", np.zeros((STEPS, 7))), r"\(T, 6\)"),
    "one image too few": (put(f"{SEEN}/exterior_image_1_left", pictures(0, STEPS - 1)), "29 images for 30 states"),
    "float images": (put(f"{SEEN}/exterior_image_1_left", np.zeros((STEPS, 8, 8, 3))), "uint8 images"),
    "linked images": (put(f"{SEEN}/exterior_image_1_left", h5py.SoftLink(f"/{SEEN}/exterior_image_2_left")), "is a link"),
    "huge images": (huge, "impossible"),
    "no observation": (put("episode_data/observation", None), "cartesian_position"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_wrong_layout_is_named(tmp_path, name):
    change, message = DAMAGE[name]
    path = franka(tmp_path) / "episode.h5"
    change(path)
    with pytest.raises(DataError, match=message) as caught:
        open_log(path)[0]
    assert str(path) in str(caught.value)


def test_an_episode_without_images_is_named(tmp_path):
    with h5py.File(franka(tmp_path) / "episode.h5", "r+") as file:
        for camera in ("exterior_image_1_left", "exterior_image_2_left"):
            del file[f"{SEEN}/{camera}"]
    with pytest.raises(DataError, match="no images"):
        open_log(tmp_path)[0]


def test_the_real_pair_reads_as_start_and_goal(shared_data):
    (found,) = open_log(shared_data / "franka" / "franka_example_traj.npz")
    frames = found.frames("exterior_image")
    assert frames.shape == (2, 256, 256, 3) and 20 < frames.mean() < 235 and (frames[0] != frames[1]).any()
    np.testing.assert_allclose(found.states[:, :3], [[0.5804, -0.0020, 0.2476], [0.6728, 0.0290, 0.3318]], atol=1e-4)
    np.testing.assert_allclose(found.states[:, 6], 0.997, atol=1e-3)
    assert found.actions is None


def test_rows_of_starts_and_goals(tmp_path):
    log = open_log(start_goal(tmp_path / "pairs.npz", 3))
    assert len(log) == 3 and "row 2" in log[2].source
    np.testing.assert_array_equal(log[1].frames("exterior_image", np.array([1])), pictures(0, 2)[1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"states": np.zeros((2, 2, 6))}, r"\(2, 2, 7\)"),
        ({"states": np.full((2, 2, 7), np.nan)}, "NaN"),
        ({"states": np.array([[[object()] * 7] * 2] * 2)}, "plain numbers"),
        ({"observations": np.zeros((2, 2, 8, 8, 3))}, "uint8 images"),
        ({"observations": np.zeros((2, 8, 8, 3), np.uint8)}, "uint8 images"),
    ],
)
def test_wrong_pairs_are_named(tmp_path, changes, message):
    arrays = {"states": np.zeros((2, 2, 7)), "observations": np.zeros((2, 2, 8, 8, 3), np.uint8)} | changes
    np.savez(tmp_path / "pair.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_log(tmp_path / "pair.npz")


def test_what_else_is_npz_is_no_log(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    shutil.copy(tmp_path / "other.npz", tmp_path / "cut.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:40])
    for name in ("other.npz", "cut.npz"):
        with pytest.raises(DataError, match="no robot log"):
            open_log(tmp_path / name)
