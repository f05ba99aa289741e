"""RECON in both of its layouts (synthetic), read to known values; the pickle is never unpickled."""

import os
import pickle

import h5py
import numpy as np
import pytest

from lamplan.errors import DataError
from lamplan.logs import open_log
from lamplan.logs.pickled import read_pickle
from tests.logs.damage_hdf5 import put
from tests.logs.synthetic import STEPS, grey, recon, recon_pictures, rover_states


@pytest.mark.parametrize("store", ["S", "V"])
def test_a_trajectory_is_read_to_known_values(tmp_path, store):
    (found,) = open_log(recon(tmp_path / "jackal_2019.hdf5", store=store))
    np.testing.assert_allclose(found.states, rover_states())
    assert found.cameras == ("rgb_left",) and found.rate_hz == 4.0
    frames = found.frames("rgb_left", np.array([29, 0, 3]))
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [grey(step) for step in (29, 0, 3)], atol=1)
    assert found.frames("rgb_left", np.array([], int)).shape == (0, 32, 48, 3)


def test_commands_drive_an_arc(tmp_path):
    """0.8 m/s and 0.2 rad/s for 0.25 s, integrated in small steps."""
    (found,) = open_log(recon(tmp_path / "a.hdf5"))
    yaw = (np.arange(10_000) + 0.5) * 0.05 / 10_000
    expected = [0.2 * np.cos(yaw).mean(), 0.2 * np.sin(yaw).mean(), 0.05]
    np.testing.assert_allclose(found.actions, np.broadcast_to(expected, (STEPS, 3)), atol=1e-9)
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        file["commands/angular_velocity"][:] = 0
    np.testing.assert_allclose(open_log(tmp_path / "a.hdf5")[0].actions, np.broadcast_to([0.2, 0, 0], (STEPS, 3)), atol=1e-12)
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        del file["commands"]
    assert open_log(tmp_path / "a.hdf5")[0].actions is None


def test_a_folder_with_a_damaged_file_is_a_log(tmp_path):
    """Some of the published files cannot be opened."""
    for number in (1, 2, 3):
        recon(tmp_path / f"jackal_{number}.hdf5", steps=number + 1)
    (tmp_path / "jackal_0.hdf5").write_bytes(b"")
    log = open_log(tmp_path)
    assert len(log) == 4 and [len(log[k]) for k in (1, 2, 3)] == [2, 3, 4]
    with pytest.raises(DataError, match="jackal_0"):
        log[0]


@pytest.mark.parametrize("protocol", range(6))
def test_pictures_and_pickle_are_read_to_known_values(tmp_path, protocol):
    for path in (recon_pictures(tmp_path / "traj", protocol=protocol), tmp_path / "traj" / "traj_data.pkl"):
        (found,) = open_log(path)
        np.testing.assert_allclose(found.states, rover_states(), atol=1e-5)
        assert found.cameras == ("rgb_left",) and found.rate_hz == 4.0 and found.actions is None
        np.testing.assert_allclose(found.frames("rgb_left", np.array([5, 1])).mean(axis=(1, 2, 3)), [grey(5), grey(1)], atol=1)


def test_both_forms_of_one_trajectory_agree(tmp_path):
    (one,), (other,) = open_log(recon(tmp_path / "a.hdf5")), open_log(recon_pictures(tmp_path / "b"))
    np.testing.assert_allclose(one.states, other.states, atol=1e-5)
    np.testing.assert_array_equal(one.frames("rgb_left"), other.frames("rgb_left"))


def bomb(path):
    with h5py.File(path, "r+") as file:
        del file["images/rgb_left"]
        file["images"].create_dataset("rgb_left", (STEPS,), f"S{2**30}", chunks=(1,))


DAMAGE = {
    "no position": (put("jackal/position", None), "no 'jackal/position'"),
    "no yaw": (put("jackal/yaw", None), "'jackal/yaw'"),
    "one yaw too few": (put("jackal/yaw", np.zeros(STEPS - 1)), "jackal/yaw 29"),
    "a NaN": (put("jackal/yaw", np.full(STEPS, np.nan)), "NaN"),
    "wide position": (put("jackal/position", np.zeros((STEPS, 4))), r"\(T, 3\)"),
    "no images": (put("images", None), "no 'images/rgb_left'"),
    "fewer images": (put("images/rgb_left", np.array([b"x"] * 3)), "rgb_left 3"),
    "images are numbers": (put("images/rgb_left", np.zeros(STEPS)), "as bytes"),
    "images are a group": (lambda path: (put("images/rgb_left", None)(path), h5py.File(path, "r+").create_group("images/rgb_left")),
                           "must be a data set"),
    "images elsewhere": (put("images/rgb_left", h5py.ExternalLink("/etc/hostname", "x")), "is a link"),
    "huge images": (bomb, "1024 MB each"),
    "commands of another length": (put("commands/linear_velocity", np.zeros(3)), "one value per step"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_wrong_layout_is_named(tmp_path, name):
    change, message = DAMAGE[name]
    path = recon(tmp_path / "a.hdf5")
    change(path)
    with pytest.raises(DataError, match=message) as caught:
        open_log(path)[0]
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF\n/etc/hostname"])
def test_what_is_no_picture_is_named(tmp_path, content):
    path = recon(tmp_path / "a.hdf5")
    put("images/rgb_left", np.array([content] * STEPS, "S64"))(path)
    with pytest.raises(DataError, match="image"):
        open_log(path)[0].frames("rgb_left")


def test_missing_and_superfluous_pictures_are_named(tmp_path):
    folder = recon_pictures(tmp_path)
    (folder / "7.jpg").unlink()
    with pytest.raises(DataError, match=r"29 pictures for 30 states.*7\.jpg is missing"):
        open_log(folder)[0]
    (folder / "30.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"7\.jpg is missing"):
        open_log(folder)[0]
    (folder / "7.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="31 pictures for 30"):
        open_log(folder)[0]


class Touch:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


HOSTILE = {
    "a call": lambda path: pickle.dumps({"position": Touch(path), "yaw": np.zeros(3)}),
    "a call in old text": lambda path: f"cos\nmkdir\n(V{path}\ntR.".encode(),
    "a call by name": lambda path: b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93" + pickle.dumps(str(path))[2:-1] + b"\x85R.",
    "an instance": lambda path: f"(ios\nmkdir\nV{path}\n.".encode(),
    "a class made": lambda path: b"\x80\x02cbuiltins\nobject\n)\x81.",
    "a name of numpy": lambda path: b"cnumpy\nload\n(V/etc/hostname\ntR.",
    "objects in an array": lambda path: pickle.dumps({"position": np.array([Touch(path)] * 3), "yaw": np.zeros(3)}),
    "a persistent name": lambda path: b"P/etc/hostname\n.",
    "an extension": lambda path: b"\x80\x02\x82\x01.",
    "a state for a list": lambda path: b"\x80\x04]}b.",
    "a memo of billions": lambda path: b"\x80\x04}r\xff\xff\xff\xff.",
    "bytes that are not there": lambda path: b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    "nothing": lambda path: b"",
    "a deep tuple as a key": lambda path: b"\x80\x04}" + b")" + b"\x85" * 200_000 + b"Ns.",
    "a list within itself": lambda path: b"\x80\x04}\x8c\x08position]q\x00h\x00ah\x00a\x8c\x03yawh\x00u.",
    "shared lists": lambda path: b"\x80\x04}\x8c\x08position]" + b"".join(b"q%c]h%ch%ce" % (k, k, k) for k in range(1, 60)) + b"s.",
    "endless": lambda path: b"\x80\x04" + b"N0" * 1_000_000 + b".",
    "an array that claims more": lambda path: pickle.dumps({"position": np.zeros((3, 2)), "yaw": np.zeros(3)}).replace(
        b"K\x03K\x02", b"K\xffK\xff"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_does_nothing(tmp_path, name):
    folder = recon_pictures(tmp_path / "traj", steps=3)
    (folder / "traj_data.pkl").write_bytes(HOSTILE[name](tmp_path / "made"))
    with pytest.raises(DataError, match="traj"):
        open_log(folder)[0]
    assert not (tmp_path / "made").exists()


def test_lists_of_numbers_count_as_arrays(tmp_path):
    table = {"position": [[1, 2.0], (3, 4)], "rows": [np.arange(2.0), np.arange(2.0)], "yaw": [0.5, 1], "flag": [True],
             "ragged": [[1], [2, 3]], "text": ["a"], "none": None,
             "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)), "big_endian": np.arange(3, dtype=">i2")}
    path = tmp_path / "a.pkl"
    for protocol in range(6):
        path.write_bytes(pickle.dumps(table, protocol=protocol))
        found = read_pickle(path, tuple(table))
        assert set(found) == {"position", "rows", "yaw", "flag", "fortran", "big_endian"}
        for name, values in found.items():
            np.testing.assert_array_equal(values, np.asarray(table[name], float))
