"""Reading: every way in which a log can be wrong is a sentence that names the file."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplan.errors import DataError, InputError
from lamplan.logs import open_log
from tests.logs.helpers import edit, episode, write_log


@pytest.mark.parametrize("task", ["lift", "stack"])
def test_real_demonstrations_without_images_are_named(shared_data, task):
    with pytest.raises(DataError, match="demo_1 has no images"):
        open_log(shared_data / "robosuite_demos" / task / "demo.hdf5")


def test_episodes_come_in_the_order_of_their_numbers(tmp_path):
    log = open_log(write_log(tmp_path / "log.hdf5", 11))
    assert [int(found.source.rsplit("_", 1)[1]) for found in log] == list(range(11))


def test_other_groups_and_top_level_entries_are_passed_over(tmp_path):
    path = write_log(tmp_path / "log.hdf5", 2)
    with edit(path) as file:
        file.create_group("mask")["train"] = np.array([b"demo_0"])
        file["data"].create_group("demo_7.tmp")
        file["data/demo_0/obs/depth"] = np.zeros(3)
    assert len(open_log(path)) == 2


def test_an_unknown_camera_is_named(tmp_path):
    with pytest.raises(InputError, match="it has exterior_image, wrist_image"):
        open_log(write_log(tmp_path / "log.hdf5"))[0].frames("front_image")


def replace(name, value):
    """An edit that puts `value` in the place of a data set."""
    def change(file):
        del file[name]
        if value is not None:
            file[name] = value
    return change


def group_of_actions(file):
    del file["data/demo_1/actions"]
    file.create_group("data/demo_1/actions")


def external_data(file):
    del file["data/demo_1/actions"]
    file["data/demo_1"].create_dataset("actions", (6, 7), "f8", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def virtual_data(file):
    del file["data/demo_1/actions"]
    layout = h5py.VirtualLayout((6, 7), "f8")
    layout[:] = h5py.VirtualSource("other.hdf5", "actions", (6, 7))
    file["data/demo_1"].create_virtual_dataset("actions", layout)


def huge_data(file):
    del file["data/demo_1/actions"]
    file["data/demo_1"].create_dataset("actions", (2**40, 7), "f8", chunks=(1, 7))


OBJECTS = np.array([[b"\x80\x04\x95pickle"] * 7] * 6, dtype=object)
DAMAGE = {
    "no actions": (replace("data/demo_1/actions", None), "no 'actions'"),
    "no observations": (replace("data/demo_1/obs", None), "no images"),
    "no proprio": (replace("data/demo_1/obs/proprio", None), "no 'proprio'"),
    "observations are numbers": (replace("data/demo_1/obs", np.zeros(3)), "'obs' must be a group"),
    "actions are a group": (group_of_actions, "must be a data set"),
    "flat actions": (replace("data/demo_1/actions", np.zeros(6)), r"shape \(T, dimensions\)"),
    "no steps": (replace("data/demo_1/actions", np.zeros((0, 7))), r"shape \(T, dimensions\)"),
    "a NaN": (replace("data/demo_1/actions", np.array([[0.0] * 7] * 5 + [[np.nan] * 7])), "at step 5"),
    "text": (replace("data/demo_1/actions", np.full((6, 7), b"up")), "must hold numbers"),
    "objects": (replace("data/demo_1/actions", OBJECTS), "must hold numbers"),
    "more states than actions": (replace("data/demo_1/obs/proprio", np.zeros((7, 7))), "proprio 7"),
    "fewer images": (replace("data/demo_1/obs/wrist_image", np.zeros((5, 8, 8, 3), np.uint8)), "wrist_image 5"),
    "float images": (replace("data/demo_1/obs/wrist_image", np.zeros((6, 8, 8, 3), np.float32)), "uint8 images"),
    "channels first": (replace("data/demo_1/obs/wrist_image", np.zeros((6, 3, 8, 8), np.uint8)), "uint8 images"),
    "external link": (replace("data/demo_1/actions", h5py.ExternalLink("/etc/hostname", "x")), "is a link"),
    "soft link": (replace("data/demo_1/actions", h5py.SoftLink("/data/demo_0/actions")), "is a link"),
    "external data": (external_data, "in another file"),
    "virtual data": (virtual_data, "in another file"),
    "impossible size": (huge_data, "impossible shape"),
    "no rate": (lambda file: file["data"].attrs.__delitem__("env_args"), "env_args"),
    "rate is no JSON": (lambda file: file["data"].attrs.__setitem__("env_args", "{"), "control_freq"),
    "JSON without rate": (lambda file: file["data"].attrs.__setitem__("env_args", "[1]"), "control_freq"),
    "rate of zero": (lambda file: file["data"].attrs.__setitem__("env_args", '{"control_freq": 0}'), "control_freq"),
    "rate is a number": (lambda file: file["data"].attrs.__setitem__("env_args", 4.0), "env_args"),
    "no data": (replace("data", None), "holds no episodes"),
    "data is numbers": (replace("data", np.zeros(3)), "must be a group"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_wrong_layout_is_named(tmp_path, name):
    change, message = DAMAGE[name]
    path = write_log(tmp_path / "log.hdf5")
    with edit(path) as file:
        change(file)
    with pytest.raises(DataError, match=message) as caught:
        list(open_log(path))
    assert str(path) in str(caught.value)


def test_one_damaged_episode_leaves_the_others_readable(tmp_path):
    path = write_log(tmp_path / "log.hdf5", 3)
    with edit(path) as file:
        replace("data/demo_1/obs/proprio", None)(file)
    log = open_log(path)
    assert len(log) == 3 and len(log[0]) == len(log[2]) == 6
    with pytest.raises(DataError, match="demo_1"):
        log[1]


def test_images_that_change_after_opening_are_named(tmp_path):
    path = write_log(tmp_path / "log.hdf5")
    found = open_log(path)[1]
    with edit(path) as file:
        replace("data/demo_1/obs/wrist_image", np.zeros((5, 8, 8, 3), np.uint8))(file)
    with pytest.raises(DataError, match="5 images for 6 states"):
        found.frames("wrist_image")
    path.unlink()
    with pytest.raises(DataError, match=r"log\.hdf5"):
        found.frames("wrist_image")


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 0.999), seed=st.integers(0, 1000), flip=st.booleans())
def test_damaged_bytes_give_episodes_or_a_sentence(tmp_path_factory, share, seed, flip):
    path = write_log(tmp_path_factory.mktemp("damage") / "log.hdf5", 1)
    content, rng = np.frombuffer(path.read_bytes(), np.uint8).copy(), np.random.default_rng(seed)
    if flip:
        content[rng.integers(0, len(content), 20)] = rng.integers(0, 256, 20)
    else:
        content = content[: int(share * len(content))]
    path.write_bytes(content.tobytes())
    try:
        for found in open_log(path):
            found.frames(found.cameras[0])
    except DataError as error:
        assert str(path) in str(error)


def test_a_heap_that_never_ends_is_named(tmp_path):
    """Left alone, HDF5 2.0 would look for the end of it for ever."""
    path = write_log(tmp_path / "log.hdf5", 1)
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL\x01")
    free = heap + 16
    while int.from_bytes(content[free : free + 2], "little"):
        free += 16 + (int.from_bytes(content[free + 8 : free + 16], "little") + 7) // 8 * 8
    content[free + 8 : free + 16] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"log\.hdf5"):
        list(open_log(path))


def test_what_is_no_log_is_named(tmp_path):
    (tmp_path / "log.npz").write_bytes(b"")
    (tmp_path / "text.hdf5").write_text("no HDF5")
    (tmp_path / "folder.hdf5").mkdir()
    for name in ("log.npz", "text.hdf5", "folder.hdf5", "absent.hdf5"):
        with pytest.raises(DataError, match=name):
            open_log(tmp_path / name)


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    path = write_log(tmp_path / "log.hdf5")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(DataError, match=r"lamplan\[logs\]"):
        open_log(path)


def test_images_are_read_only_when_asked_for(tmp_path, monkeypatch):
    path = write_log(tmp_path / "log.hdf5")
    reads = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda self, key: reads.append(self.name) or original(self, key))
    found = open_log(path)[0]
    assert not any("image" in name for name in reads)
    np.testing.assert_array_equal(found.frames("wrist_image"), episode(0)[0]["wrist_image"])
    assert sum("image" in name for name in reads) == 1
