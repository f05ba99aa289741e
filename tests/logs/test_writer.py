"""Recording: what was finished stays, whatever happens to the process."""

import h5py
import numpy as np
import pytest

from lamplan.errors import DataError, InputError
from lamplan.logs import LogWriter, check_limits, open_log
from tests.logs.helpers import episode, kill_recording, spec, write_log, writer

ENDLESS = """
from pathlib import Path
from tests.logs.helpers import episode, writer
log = writer(Path({path!r}))
while True:
    print(log.write_episode(*episode(len(log.finished()), steps=40)), flush=True)
"""


def same(found, seed, steps=6):
    frames, states, actions = episode(seed, steps)
    np.testing.assert_array_equal(found.states, states)
    np.testing.assert_array_equal(found.actions, actions)
    assert found.cameras == tuple(sorted(frames))
    for camera, images in frames.items():
        np.testing.assert_array_equal(found.frames(camera), images)


def test_what_is_written_is_read(tmp_path):
    log = open_log(write_log(tmp_path / "log.hdf5", 12))
    assert len(log) == 12 and len(log[0]) == 6
    for seed, found in enumerate(log):
        same(found, seed)
        check_limits(found, spec())
    assert log[3].rate_hz == 4.0 and log[3].robot == "panda" and "demo_3" in log[3].source
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.hdf5"]


def test_the_file_has_the_layout_of_robomimic(tmp_path):
    with h5py.File(write_log(tmp_path / "log.hdf5", 3)) as file:
        data = file["data"]
        assert data.attrs["total"] == 18 and '"control_freq": 4.0' in data.attrs["env_args"]
        assert data["demo_2"].attrs["num_samples"] == 6
        assert data["demo_2/obs/exterior_image"].shape == (6, 12, 16, 3)
        assert data["demo_2/obs/proprio"].shape == data["demo_2/actions"].shape == (6, 7)


def test_no_file_appears_before_it_is_whole(tmp_path):
    log = writer(tmp_path / "log.hdf5")
    log.write_episode(*episode(0))
    assert not (tmp_path / "log.hdf5").exists()
    log.close()
    log.close()
    assert len(open_log(tmp_path / "log.hdf5")) == 1


def test_nothing_recorded_leaves_nothing(tmp_path):
    with writer(tmp_path / "log.hdf5"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_recording_goes_on_after_it_was_closed(tmp_path):
    write_log(tmp_path / "log.hdf5", 2)
    with writer(tmp_path / "log.hdf5") as log:
        assert log.finished() == {0, 1}
        assert log.write_episode(*episode(2)) == 2
    for seed, found in enumerate(open_log(tmp_path / "log.hdf5")):
        same(found, seed)


def test_a_killed_recording_keeps_its_finished_episodes(tmp_path):
    path = tmp_path / "log.hdf5"
    assert kill_recording(ENDLESS.format(path=str(path))) == [0, 1, 2, 3] and not path.exists()
    with writer(path) as log:
        count = len(log.finished())
        assert count >= 4
        log.write_episode(*episode(count, 40))
    log = open_log(path)
    assert len(log) == count + 1
    for seed, found in enumerate(log):
        same(found, seed, 40)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["log.hdf5"]


def test_a_kill_while_gathering_loses_and_doubles_nothing(tmp_path, monkeypatch):
    path = tmp_path / "log.hdf5"
    write_log(path, 2)
    log = writer(path)
    log.write_episode(*episode(2))
    for broken in ("os.replace", "shutil.rmtree"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(f"lamplan.logs.writer.{broken}", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            writer(path).close()
        assert len(open_log(path)) in (2, 3)
        assert writer(path).finished() == {0, 1, 2}
    writer(path).close()
    for seed, found in enumerate(open_log(path)):
        same(found, seed)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["log.hdf5"]


def test_several_writers_share_a_recording_by_index(tmp_path):
    first, second = writer(tmp_path / "log.hdf5"), writer(tmp_path / "log.hdf5")
    for index in range(0, 12, 2):
        second.write_episode(*episode(index + 1), index=index + 1)
        first.write_episode(*episode(index), index=index)
    first.close()
    for seed, found in enumerate(open_log(tmp_path / "log.hdf5")):
        same(found, seed)


def test_an_index_that_is_recorded_is_refused_and_nothing_is_lost(tmp_path):
    path = write_log(tmp_path / "log.hdf5", 2)
    with writer(path) as log:
        assert log.write_episode(*episode(5), index=5) == 5
        for taken in (1, 5, -1):
            with pytest.raises(InputError, match=f"episode {taken} cannot be recorded: .* has it already"):
                log.write_episode(*episode(7), index=taken)
    assert [found.source.split("demo_")[1] for found in open_log(path)] == ["0", "1", "5"]
    same(open_log(path)[1], 1)


def test_a_recording_goes_on_after_it_was_closed_by_the_same_writer(tmp_path):
    log = writer(tmp_path / "log.hdf5")
    for seed in range(3):
        log.write_episode(*episode(seed))
        log.close()
    for seed, found in enumerate(open_log(tmp_path / "log.hdf5")):
        same(found, seed)
    assert seed == 2 and [path.name for path in tmp_path.iterdir()] == ["log.hdf5"]


def test_another_robots_file_is_left_alone(tmp_path):
    path = write_log(tmp_path / "log.hdf5")
    before = path.read_bytes()
    with pytest.raises(DataError, match="no log of rover"):
        LogWriter(path, robot=spec("rover"), env_name="lamplan/Rover-v0")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, s, a: (f, s[:-1], a), "actions"),
        (lambda f, s, a: (f, s, a[:, :3]), "actions"),
        (lambda f, s, a: (f, s[:, :3], a), "states"),
        (lambda f, s, a: (f, s * np.nan, a), "NaN"),
        (lambda f, s, a: ({}, s, a), "at least one camera"),
        (lambda f, s, a: ({"front": f["wrist_image"]}, s, a), "must end in '_image'"),
        (lambda f, s, a: ({"front_image": f["wrist_image"][1:]}, s, a), "one per state"),
        (lambda f, s, a: ({"front_image": f["wrist_image"] / 255}, s, a), "uint8"),
    ],
)
def test_wrong_episodes_are_refused_and_write_nothing(tmp_path, change, message):
    with writer(tmp_path / "log.hdf5") as log, pytest.raises(InputError, match=message):
        log.write_episode(*change(*episode(0)))
    assert list(tmp_path.iterdir()) == []
