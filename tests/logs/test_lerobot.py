"""LeRobot data sets of known values (synthetic), and every way in which they can be wrong."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.spatial.transform import Rotation

from lamplan.errors import DataError
from lamplan.logs import open_log
from tests.logs.made_lerobot import (
    FPS,
    LENGTHS,
    NAMES,
    actions,
    grey,
    lerobot_info,
    pictures,
    rows,
    states,
    write_json,
    write_lerobot2,
    write_lerobot3,
    write_mp4,
    write_table,
)

MAKERS = {"v2.1": write_lerobot2, "v3": write_lerobot3}
EPISODES3 = "meta/episodes/chunk-000/file-000.parquet"


@pytest.fixture(params=MAKERS)
def data_set(request, tmp_path):
    return MAKERS[request.param](tmp_path / "set")


def edit_info(root: Path, **changes) -> Path:
    path = root / "meta/info.json"
    write_json(path, {**json.loads(path.read_text()), **changes})
    return root


def edit_features(root: Path, **changes) -> Path:
    features = json.loads((root / "meta/info.json").read_text())["features"]
    return edit_info(root, features={**features, **{name.replace("__", "."): value for name, value in changes.items()}})


def check(log) -> None:
    assert len(log) == len(LENGTHS)
    for episode, (found, length) in enumerate(zip(log, LENGTHS, strict=True)):
        np.testing.assert_array_equal(found.states, states(episode, length))
        np.testing.assert_array_equal(found.actions, actions(episode, length))
        np.testing.assert_allclose(found.times_s, np.arange(length) / FPS, atol=1e-6)
        assert found.rate_hz == FPS and found.robot == "testarm" and f"episode {episode}" in found.source
        assert found.cameras == ("front", "still")
        np.testing.assert_array_equal(found.frames("still"), pictures(episode, length))
        np.testing.assert_allclose(found.frames("front"), pictures(episode, length), atol=2)


def test_known_values_are_read(data_set):
    check(open_log(data_set))
    check(open_log(data_set / "meta/info.json"))


def test_some_steps_in_any_order_and_another_rate(data_set):
    found = open_log(data_set)[1]
    steps = np.array([6, 0, 3, 3])
    for camera in found.cameras:
        np.testing.assert_allclose(found.frames(camera, steps)[:, 0, 0, 0], grey(1, 8)[steps], atol=2)
        assert found.frames(camera, slice(0, 0)).shape == (0, 16, 24, 3)
    slower = found.resampled(5.0)
    np.testing.assert_allclose(slower.frames("front")[:, 0, 0, 0], grey(1, 8)[::2], atol=2)


@pytest.mark.parametrize("row_group_size", [1, 4, 7])
def test_row_groups_that_cut_episodes(tmp_path, row_group_size):
    check(open_log(write_lerobot3(tmp_path / "set", row_group_size=row_group_size)))


def test_the_headers_rate_is_not_believed(data_set):
    edit_info(data_set, fps=60)
    for episode, found in enumerate(open_log(data_set)):
        assert found.rate_hz == pytest.approx(FPS)
        np.testing.assert_allclose(found.frames("front"), pictures(episode, LENGTHS[episode]), atol=2)


def test_a_video_whose_clock_is_not_the_states_is_named(tmp_path):
    root = write_lerobot2(tmp_path / "set")
    write_mp4(root / "videos/chunk-000/observation.images.front/episode_000001.mp4", pictures(1, 8), fps=60)
    with pytest.raises(DataError, match=r"episode 1: 'front': no frame within .* the video's clock"):
        open_log(root)[1].frames("front")


@pytest.mark.parametrize("count", [7, 9])
def test_as_many_frames_as_states(tmp_path, count):
    root = write_lerobot2(tmp_path / "set")
    write_mp4(root / "videos/chunk-000/observation.images.front/episode_000001.mp4", pictures(1, count))
    with pytest.raises(DataError, match=f"{count} frames for 8 states"):
        open_log(root)[1].frames("front", slice(0, 2))


def test_frames_lost_in_a_shared_video_are_named(tmp_path):
    root = write_lerobot3(tmp_path / "set")
    images = np.concatenate([pictures(*item) for item in enumerate(LENGTHS)])
    write_mp4(root / "videos/observation.images.front/chunk-000/file-000.mp4", images[:-3])
    log = open_log(root)
    assert len(log[1].frames("front")) == 8
    with pytest.raises(DataError, match="episode 2: 'front': no frame within"):
        log[2].frames("front")


def test_opening_reads_no_video(data_set):
    log = open_log(data_set)
    shutil.rmtree(data_set / "videos")
    found = log[2]
    np.testing.assert_array_equal(found.states, states(2, 6))
    with pytest.raises(DataError, match=r"\.mp4 is missing"):
        found.frames("front")


@pytest.mark.parametrize("names", [[*NAMES, "pad"], ["pad", *NAMES], {"motors": [*NAMES[:6], "pad", "gripper"]}])
def test_the_pose_is_found_by_its_names(tmp_path, names):
    root = edit_features(write_lerobot2(tmp_path / "set"), observation__state={"dtype": "float32", "shape": [8], "names": names})
    listed = names if isinstance(names, list) else names["motors"]
    wide = np.zeros((8, 8), np.float32)
    wide[:, [listed.index(name) for name in NAMES]] = states(1, 8)
    path = root / "data/chunk-000/episode_000001.parquet"
    table = rows(1, 8)
    column = pa.FixedSizeListArray.from_arrays(pa.array(wide.reshape(-1)), 8)
    write_table(path, table.set_column(table.column_names.index("observation.state"), "observation.state", column))
    np.testing.assert_array_equal(open_log(root)[1].states, states(1, 8))


def test_a_state_without_known_names_stays_as_it_is(data_set):
    edit_features(data_set, observation__state={"dtype": "float32", "shape": [7], "names": {"motors": [f"number_{i}" for i in range(7)]}})
    np.testing.assert_array_equal(open_log(data_set)[0].states, states(0, 5))
    edit_features(data_set, observation__state={"dtype": "float32", "shape": [7], "names": None})
    np.testing.assert_array_equal(open_log(data_set)[0].states, states(0, 5))


@pytest.mark.parametrize("names", [["x", "y", "z", "qx", "qy", "qz", "qw"], [f"motor_{axis}" for axis in range(7)]])
def test_a_state_whose_names_say_that_it_is_no_pose_is_refused(data_set, names):
    edit_features(data_set, observation__state={"dtype": "float32", "shape": [7], "names": {"motors": names}})
    with pytest.raises(DataError, match=rf"info\.json: by its names \({', '.join(names)}\) .* expected the hand's pose"):
        open_log(data_set)


def test_a_rotation_vector_is_converted(data_set):
    names = ["ee.x", "ee.y", "ee.z", "ee.wx", "ee.wy", "ee.wz", "ee.gripper_pos"]
    edit_features(data_set, observation__state={"dtype": "float32", "shape": [7], "names": names})
    kept, found = states(0, 5), open_log(data_set)[0].states
    np.testing.assert_allclose(found[:, 3:6], Rotation.from_rotvec(kept[:, 3:6]).as_euler("xyz"), atol=1e-6)
    np.testing.assert_array_equal(found[:, [0, 1, 2, 6]], kept[:, [0, 1, 2, 6]])


def test_the_pose_in_two_columns(tmp_path):
    root = write_lerobot2(tmp_path / "set")
    info = lerobot_info("v2.1")
    features = {name: value for name, value in info["features"].items() if name != "observation.state"}
    pose = {"observation.state.cartesian_position": states(1, 8)[:, :6], "observation.state.gripper_position": states(1, 8)[:, 6]}
    edit_info(root, features=features | {name: {"dtype": "float32", "shape": [values.ndim]} for name, values in pose.items()})
    table = rows(1, 8).drop_columns("observation.state")
    for name, values in pose.items():
        table = table.append_column(name, pa.array(list(values)))
    write_table(root / "data/chunk-000/episode_000001.parquet", table)
    np.testing.assert_array_equal(open_log(root)[1].states, states(1, 8))


def test_without_commands_the_motion_remains(data_set):
    features = json.loads((data_set / "meta/info.json").read_text())["features"]
    edit_info(data_set, features={name: value for name, value in features.items() if name != "action"})
    assert open_log(data_set)[0].actions is None


OUTSIDE = ["../outside/file.parquet", "/etc/hostname", "data/../../outside/file.parquet", "..\\outside", "data/chunk\0"]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("key", ["data_path", "video_path"])
def test_paths_that_lead_out_are_refused(data_set, path, key):
    outside = data_set.parent / "outside"
    outside.mkdir()
    write_table(outside / "file.parquet", rows(0, 5))
    log = open_log(edit_info(data_set, **{key: path}))
    with pytest.raises(DataError, match="must be a path inside"):
        log[0].frames("front")


@pytest.mark.parametrize("path", ["{episode_index.__class__}", "{0}", "{secret}", "{episode_index!r}", "{episode_index:999999999d}", "{"])
def test_path_fields_are_only_filled_in(data_set, path):
    log = open_log(edit_info(data_set, data_path=f"data/{path}.parquet"))
    with pytest.raises(DataError, match=r"unknown field|cannot be filled in"):
        log[0]


def test_links_may_lead_to_the_hubs_store_and_nowhere_else(tmp_path):
    revision = write_lerobot3(tmp_path / "hub/snapshots/abc")
    data = revision / "data/chunk-000/file-000.parquet"
    blob = tmp_path / "hub/blobs/123"
    blob.parent.mkdir()
    data.rename(blob)
    data.symlink_to(blob)
    check(open_log(revision))
    data.unlink()
    blob.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="leads out of"):
        open_log(revision)[0]


INFO_DAMAGE = {
    "another version": ({"codebase_version": "v1.6"}, "v2.0, v2.1 and v3"),
    "no version": ({"codebase_version": None}, "codebase_version"),
    "no features": ({"features": None}, "'features' must say"),
    "no state": ({"features": {"action": {"dtype": "float32"}}}, "no 'observation.state'"),
    "no path": ({"data_path": None}, "'data_path' must be a path"),
    "no chunks": ({"chunks_size": 0}, "chunks_size"),
}


@pytest.mark.parametrize("name", INFO_DAMAGE)
def test_a_wrong_header_is_named(data_set, name):
    changes, message = INFO_DAMAGE[name]
    with pytest.raises(DataError, match=message) as caught:
        open_log(edit_info(data_set, **changes))
    assert str(data_set) in str(caught.value)


def set_column(name, value):
    def change(table):
        return table.drop_columns(name) if value is None else table.set_column(table.column_names.index(name), name, value)
    return change


TABLE_DAMAGE = {
    "no state": (set_column("observation.state", None), "no column observation.state"),
    "no clock": (set_column("timestamp", None), "no column timestamp"),
    "text": (set_column("action", pa.array(["up"] * 8)), "must hold numbers, found string"),
    "missing values": (set_column("action", pa.nulls(8, pa.list_(pa.float32()))), "has missing values"),
    "uneven": (set_column("action", pa.array([[1.0] * (step % 2 + 1) for step in range(8)])), "same number of values in every row"),
    "a NaN": (set_column("action", pa.array([[0.0] * 7] * 5 + [[np.nan] * 7] * 3)), "NaN or an infinity at step 5"),
    "a state of another width": (set_column("observation.state", pa.array([[0.0] * 6] * 8)), "6 numbers and 7 names"),
    "a clock that stands": (set_column("timestamp", pa.array([0.0] * 8)), "does not increase after step 0"),
    "another episode": (set_column("episode_index", pa.array([5] * 8)), "holds 0 rows"),
    "mixed steps": (lambda table: table.take(pc.array_sort_indices(pa.array([1, 0, 2, 3, 4, 5, 6, 7]))), "frame_index must count"),
    "a step lost": (lambda table: table.slice(1), "holds 7 rows"),
}


@pytest.mark.parametrize("name", TABLE_DAMAGE)
def test_a_wrong_table_is_named(tmp_path, name):
    change, message = TABLE_DAMAGE[name]
    root = write_lerobot2(tmp_path / "set")
    path = root / "data/chunk-000/episode_000001.parquet"
    write_table(path, change(pq.read_table(path)))
    with pytest.raises(DataError, match=message) as caught:
        open_log(root)[1]
    assert "episode 1" in str(caught.value)
    np.testing.assert_array_equal(open_log(root)[0].states, states(0, 5))


def test_images_are_taken_out_of_the_file_alone(tmp_path):
    root = write_lerobot2(tmp_path / "set")
    path = root / "data/chunk-000/episode_000001.parquet"
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"x")
    pointing = pa.array([{"bytes": None, "path": str(secret)}] * 8, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    write_table(path, set_column("observation.images.still", pointing)(pq.read_table(path)))
    with pytest.raises(DataError, match="no image in the file"):
        open_log(root)[1].frames("still")


def test_missing_parts_of_the_index_are_named(tmp_path):
    new, old = write_lerobot3(tmp_path / "new"), write_lerobot2(tmp_path / "old")
    table = pq.read_table(new / EPISODES3)
    write_table(new / EPISODES3, table.drop_columns("videos/observation.images.front/from_timestamp"))
    with pytest.raises(DataError, match=r"no column videos/observation\.images\.front/from_timestamp"):
        open_log(new)
    (new / EPISODES3).unlink()
    with pytest.raises(DataError, match="holds no table of episodes"):
        open_log(new)
    (old / "meta/episodes.jsonl").write_text('{"episode_index": 0, "length": 5}\n{"episode_index": 0, "length": 5}\n')
    with pytest.raises(DataError, match="names one twice"):
        open_log(old)
    (old / "meta/episodes.jsonl").unlink()
    with pytest.raises(DataError, match=r"episodes\.jsonl is missing"):
        open_log(old)


def test_without_pyarrow_the_extra_is_named(data_set, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'lamplan\[logs\]'"):
        open_log(data_set)


def test_a_hundred_thousand_episodes_open_at_once(tmp_path):
    """The index alone: the data of all but the first are not there."""
    count = 100_000
    new, old = write_lerobot3(tmp_path / "new"), write_lerobot2(tmp_path / "old")
    first = pq.read_table(new / EPISODES3).slice(0, 1)
    columns = {name: pc.take(first.column(name), pa.array(np.zeros(count, np.int64))) for name in first.column_names}
    write_table(new / EPISODES3, pa.table({**columns, "episode_index": np.arange(count)}))
    lines = [f'{{"episode_index": {episode}, "tasks": ["push"], "length": 5}}' for episode in range(count)]
    (old / "meta/episodes.jsonl").write_text("\n".join(lines))
    for root in (new, old):
        begin = time.process_time()
        log = open_log(root)
        assert len(log) == count and len(log[0]) == 5
        assert time.process_time() - begin < 2.0
