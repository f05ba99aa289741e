"""Recording LeRobot sets: what was finished stays, whatever happens to the process, and is read back as it was."""

import json
import os

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from lamplan.errors import DataError, InputError
from lamplan.logs import LeRobotWriter, LogWriter, check_limits, open_log, open_writer
from tests.logs.helpers import kill_recording, spec

ENDLESS = """
from pathlib import Path
from tests.logs.test_lerobot_writer import episode, writer
log = writer(Path({path!r}))
while True:
    print(log.write_episode(*episode(len(log.finished()))), flush=True)
"""


def episode(seed: int, steps: int = 12, size=(32, 48), odd=(21, 33)):
    """A scene that moves, of two cameras, one of odd size; states and actions of a Panda within its limits."""
    rng = np.random.default_rng(seed)

    def scene(height, width):
        y, x = np.mgrid[:height, :width]
        phase = 0.3 * np.arange(steps)[:, None, None] + seed
        waves = [np.sin(x / 30 + phase), np.cos(y / 20 - phase), np.sin((x + y) / 40) + 0 * phase]
        return np.stack([128 + 100 * wave for wave in waves], axis=-1).clip(0, 255).astype(np.uint8)

    frames = {"exterior_image": scene(*size), "wrist_image": scene(*odd)}
    return frames, np.cumsum(rng.uniform(-0.05, 0.05, (steps, 7)), axis=0), rng.uniform(-0.05, 0.05, (steps, 7))


def writer(path) -> LeRobotWriter:
    return LeRobotWriter(path, spec(), "push the cube")


def write(path, count: int, first: int = 0):
    with writer(path) as log:
        for seed in range(first, first + count):
            log.write_episode(*episode(seed, steps=10 + seed))
    return path


def same(found, seed, steps=None):
    """States, actions and rate to the bit; images within the loss of H.264 at its quality 18."""
    frames, states, actions = episode(seed, 10 + seed if steps is None else steps)
    np.testing.assert_array_equal(found.states, states)
    np.testing.assert_array_equal(found.actions, actions)
    assert found.rate_hz == 4.0 and found.robot == "panda" and found.cameras == tuple(sorted(frames))
    for camera, images in frames.items():
        read = found.frames(camera)
        assert read.shape == images.shape
        error = np.abs(read.astype(int) - images)
        assert error.mean() < 3 and np.percentile(error, 99) < 16, (camera, error.mean(), np.percentile(error, 99))


def test_what_is_written_is_read(tmp_path):
    log = open_log(write(tmp_path / "set", 4))
    assert len(log) == 4
    for seed, found in enumerate(log):
        same(found, seed)
        check_limits(found, spec())
    steps = np.array([9, 2, 4])
    np.testing.assert_array_equal(log[3].frames("wrist_image", steps), log[3].frames("wrist_image")[steps])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_a_mobile_robot_and_a_rate_that_is_no_whole_number(tmp_path):
    from dataclasses import replace
    rover = replace(spec("rover"), rate_hz=7.5)
    frames, states, actions = episode(1)
    with LeRobotWriter(tmp_path / "set", rover, "drive") as log:
        for _ in range(2):
            log.write_episode(frames, states[:, :3], actions[:, :3])
    for found in open_log(tmp_path / "set"):
        np.testing.assert_array_equal(found.states, states[:, :3])
        assert found.rate_hz == 7.5 and len(found.frames("exterior_image")) == 12


def test_the_folder_has_the_layout_of_lerobot(tmp_path):
    root = write(write(tmp_path / "set", 2), 1, first=2)
    info, stats = (json.loads((root / f"meta/{name}.json").read_text()) for name in ("info", "stats"))
    assert info["codebase_version"] == "v3.0" and info["fps"] == 4 and info["robot_type"] == "panda"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 33, 1) and info["splits"] == {"train": "0:3"}
    table = pq.read_table(root / "meta/episodes", use_threads=False)
    video = "videos/observation.images.wrist_image"
    assert table["episode_index"].to_pylist() == [0, 1, 2] and table["length"].to_pylist() == [10, 11, 12]
    assert table["dataset_from_index"].to_pylist() == [0, 10, 21] and table["dataset_to_index"].to_pylist() == [10, 21, 33]
    assert table["data/file_index"].to_pylist() == table[f"{video}/file_index"].to_pylist() == [0, 0, 1]
    assert table[f"{video}/from_timestamp"].to_pylist() == [0, 2.5, 0] and table[f"{video}/to_timestamp"].to_pylist() == [2.5, 5.25, 3.0]
    assert table["tasks"].to_pylist() == [["push the cube"]] * 3
    data = pq.read_table(root / "data", use_threads=False)
    assert data["index"].to_pylist() == list(range(33)) and data["episode_index"].to_pylist() == [0] * 10 + [1] * 11 + [2] * 12
    assert pq.ParquetFile(root / "data/chunk-000/file-000.parquet").metadata.num_row_groups == 2
    states = np.concatenate([episode(seed, 10 + seed)[1] for seed in range(3)])
    found = stats["observation.state"]
    np.testing.assert_allclose([found["min"], found["max"], found["mean"], found["std"]],
                               [states.min(0), states.max(0), states.mean(0), states.std(0)])
    assert found["count"] == [33] and np.shape(stats["observation.images.exterior_image"]["mean"]) == (3, 1, 1)
    with av.open(str(root / f"{video}/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.frames == 21 and stream.codec_context.name == "h264" and stream.average_rate == 4
        assert [float(frame.pts * stream.time_base) for frame in container.decode(stream)] == [step / 4 for step in range(21)]


def test_tasks_are_kept_apart(tmp_path):
    write(tmp_path / "set", 1)
    with LeRobotWriter(tmp_path / "set", spec(), "lift it") as log:
        log.write_episode(*episode(1))
    assert pq.read_table(tmp_path / "set/meta/tasks.parquet")["task"].to_pylist() == ["push the cube", "lift it"]
    assert pq.read_table(tmp_path / "set/data/chunk-000/file-001.parquet")["task_index"].to_pylist() == [1] * 12


def test_nothing_appears_before_it_is_whole_and_nothing_recorded_leaves_nothing(tmp_path):
    with writer(tmp_path / "set"):
        pass
    assert list(tmp_path.iterdir()) == []
    log = writer(tmp_path / "set")
    log.write_episode(*episode(0, 10))
    assert not (tmp_path / "set").exists()
    log.close()
    log.close()
    same(open_log(tmp_path / "set")[0], 0)


def test_a_recording_goes_on_after_it_was_closed(tmp_path):
    write(tmp_path / "set", 2)
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("file-000.*")}
    with writer(tmp_path / "set") as log:
        assert log.finished() == {0, 1}
        assert log.write_episode(*episode(2)) == 2
        log.close()
        assert log.write_episode(*episode(3, steps=13)) == 3
    assert len(before) == 4 and all(path.read_bytes() == content for path, content in before.items())
    log = open_log(tmp_path / "set")
    assert len(log) == 4
    for seed, found in enumerate(log):
        same(found, seed)


def test_a_killed_recording_keeps_its_finished_episodes(tmp_path):
    path = tmp_path / "set"
    assert kill_recording(ENDLESS.format(path=str(path))) == [0, 1, 2, 3] and not path.exists()
    with writer(path) as log:
        count = len(log.finished())
        assert count >= 4
        log.write_episode(*episode(count))
    log = open_log(path)
    assert len(log) == count + 1
    for seed, found in enumerate(log):
        same(found, seed, 12)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["set"]


@pytest.mark.parametrize("place", range(1, 12))
@pytest.mark.parametrize("before", [0, 2])
def test_a_kill_at_any_rename_loses_and_doubles_nothing(tmp_path, monkeypatch, place, before):
    path = tmp_path / "set"
    if before:
        write(path, before)
    log = writer(path)
    for seed in range(before, before + 2):
        log.write_episode(*episode(seed, 10 + seed))
    replace, calls = os.replace, []

    def killed(*names):
        calls.append(names)
        if len(calls) == place:
            raise KeyboardInterrupt
        replace(*names)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        try:
            log.close()
        except KeyboardInterrupt:
            assert writer(path).finished() == set(range(before + 2))
            if before:
                for seed, found in enumerate(open_log(path)):
                    same(found, seed)
    assert len(calls) >= min(place, 7)
    writer(path).close()
    log = open_log(path)
    assert len(log) == before + 2
    for seed, found in enumerate(log):
        same(found, seed)
    info = json.loads((path / "meta/info.json").read_text())
    assert info["total_episodes"] == before + 2
    assert sorted(item.name for item in tmp_path.iterdir()) == ["set"] and not list(path.rglob("*.tmp"))


def test_several_writers_share_a_recording_and_gaps_wait(tmp_path):
    first, second = writer(tmp_path / "set"), writer(tmp_path / "set")
    for index in (3, 1, 0):
        (first if index % 2 else second).write_episode(*episode(index, 10 + index), index=index)
    with pytest.raises(InputError, match="episode 1 cannot be recorded"):
        second.write_episode(*episode(1), index=1)
    first.close()
    assert len(open_log(tmp_path / "set")) == 2
    with writer(tmp_path / "set") as log:
        assert log.finished() == {0, 1, 3}
        log.write_episode(*episode(2), index=2)
    for seed, found in enumerate(open_log(tmp_path / "set")):
        same(found, seed)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["set"]


def test_large_recordings_are_cut_into_files(tmp_path, monkeypatch):
    monkeypatch.setattr("lamplan.logs.lerobot_writer.MAX_VIDEO_BYTES", 1)
    log = open_log(write(tmp_path / "set", 3))
    assert len(list((tmp_path / "set").rglob("*.mp4"))) == 6
    for seed, found in enumerate(log):
        same(found, seed)


def test_another_robots_set_is_left_alone(tmp_path):
    path = write(tmp_path / "set", 1)
    with pytest.raises(DataError, match="no log of rover"):
        LeRobotWriter(path, spec("rover"), "drive")
    same(open_log(path)[0], 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, s, a: (f, s[:-1], a), "actions"),
        (lambda f, s, a: (f, s * np.nan, a), "NaN"),
        (lambda f, s, a: ({}, s, a), "at least one camera"),
        (lambda f, s, a: ({"wrist_image": f["wrist_image"]}, s, a), "same cameras and sizes"),
        (lambda f, s, a: ({**f, "wrist_image": f["wrist_image"][:, 1:]}, s, a), "same cameras and sizes"),
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_wrong_episodes_are_refused_and_write_nothing(tmp_path, change, message, closed):
    with writer(tmp_path / "set") as log:
        log.write_episode(*episode(0))
        if closed:
            log.close()
            log = writer(tmp_path / "set")
        with pytest.raises(InputError, match=message):
            log.write_episode(*change(*episode(1)))
        assert log.finished() == {0}


def test_the_path_decides_the_format(tmp_path):
    assert isinstance(open_writer(tmp_path / "log.hdf5", spec(), "x"), LogWriter)
    assert isinstance(open_writer(tmp_path / "set", spec(), "x"), LeRobotWriter)
