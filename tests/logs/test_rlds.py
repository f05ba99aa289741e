"""RLDS sets: known values (synthetic), 25 real episodes of a WidowX, and every way in which they can be wrong."""

import json
import shutil
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lamplan.errors import DataError
from lamplan.logs import check_limits, open_log
from lamplan.logs.tfexample import parse_example
from lamplan.logs.tfrecord import index_records, read_record
from lamplan.robot import RobotSpec
from tests.logs.made_lerobot import LENGTHS, actions, pictures, states, write_json
from tests.logs.made_rlds import rlds_episode, tensor, write_records, write_rlds

SHARDS = ("push_set-train.tfrecord-00000-of-00002", "push_set-train.tfrecord-00001-of-00002")


def test_known_values_are_read(tmp_path):
    log = open_log(write_rlds(tmp_path))
    assert len(log) == 3
    for episode, (found, length) in enumerate(zip(log, LENGTHS, strict=True)):
        np.testing.assert_array_equal(found.states, states(episode, length))
        np.testing.assert_array_equal(found.actions, actions(episode, length))
        assert found.rate_hz == 10.0 and found.times_s is None and found.cameras == ("image_0", "wrist")
        for camera in found.cameras:
            np.testing.assert_array_equal(found.frames(camera), pictures(episode, length))
            np.testing.assert_array_equal(found.frames(camera, np.array([3, 0])), pictures(episode, length)[[3, 0]])
            assert len(found.frames(camera, slice(0, 0))) == 0
    assert SHARDS[0] in log[1].source and SHARDS[1] in log[2].source and "episode 0" in log[2].source


def test_one_shard_alone_and_a_set_with_shards_missing(tmp_path):
    write_rlds(tmp_path)
    assert len(open_log(tmp_path / SHARDS[0])) == 2
    (tmp_path / SHARDS[0]).unlink()
    np.testing.assert_array_equal(open_log(tmp_path)[0].states, states(2, 6))


def test_shards_are_indexed_when_they_are_needed(tmp_path):
    log = open_log(write_rlds(tmp_path))
    (tmp_path / SHARDS[1]).write_bytes(b"damaged")
    assert len(log[0]) == 5
    with pytest.raises(DataError, match="00001-of-00002 is no TFRecord file"):
        log[2]


def test_without_the_numbers_of_shards_they_are_counted(tmp_path):
    write_rlds(tmp_path)
    write_json(tmp_path / "dataset_info.json", {"name": "push_set"})
    assert len(open_log(tmp_path)) == 3
    (tmp_path / "dataset_info.json").unlink()
    assert len(open_log(tmp_path)) == 3


def test_the_numbers_of_shards_are_checked(tmp_path):
    write_rlds(tmp_path)
    write_records(tmp_path / SHARDS[0], [rlds_episode(0, 5)])
    with pytest.raises(DataError, match=r"holds 1 records where dataset_info\.json says 2"):
        open_log(tmp_path)[0]


def test_a_rate_must_be_known(tmp_path):
    write_rlds(tmp_path, rate_hz=None)
    with pytest.raises(DataError, match=r"write a file log\.toml with the line 'rate_hz = 10\.0'"):
        open_log(tmp_path)
    for text in ("rate_hz = 0", "rate_hz = true", "rate_hz = nan", "rate = 3", "rate_hz = "):
        (tmp_path / "log.toml").write_text(text)
        with pytest.raises(DataError, match="rate_hz"):
            open_log(tmp_path)


def test_bridge_grippers_are_turned_to_ours(tmp_path):
    write_rlds(tmp_path, name="bridge_orig", rate_hz=None)
    opening = np.array([1.006, 1.0, 0.4, 0.4, 0.4])
    told = np.array([1.0, 0.0, 0.0, 0.0, 1.0])
    pose, motion = states(0, 5), actions(0, 5)
    pose[:, 6], motion[:, 6] = opening, told
    write_records(tmp_path / "bridge_orig-train.tfrecord-00000-of-00002",
                  [rlds_episode(0, 5, **{"steps/observation/state": pose, "steps/action": motion}), rlds_episode(1, 8)])
    found = open_log(tmp_path)[0]
    np.testing.assert_array_equal(found.states[:, :6], pose[:, :6])
    np.testing.assert_allclose(found.states[:, 6], [0, 0, 0.6, 0.6, 0.6], atol=1e-6)
    np.testing.assert_array_equal(found.actions[:, :6], motion[:, :6])
    np.testing.assert_allclose(found.actions[:, 6], [0, 1, 0.4, 0.4, -0.6], atol=1e-6)
    assert found.rate_hz == 5.0 and found.robot == "widowx"


@pytest.mark.parametrize("name", ["r2d2_faceblur", "droid_101"])
def test_droid_is_known_by_the_names_that_are_in_its_folders(tmp_path, name):
    table = json.loads((write_rlds(tmp_path, name=name, rate_hz=None) / "features.json").read_text())
    step = table["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
    step["observation"]["featuresDict"]["features"] |= {"cartesian_position": tensor(6), "gripper_position": tensor(1)}
    write_json(tmp_path / "features.json", table)
    pose = states(0, 5)
    kept = {"steps/observation/cartesian_position": pose[:, :6], "steps/observation/gripper_position": pose[:, 6]}
    write_records(tmp_path / f"{name}-train.tfrecord-00000-of-00002", [rlds_episode(0, 5, **kept), rlds_episode(1, 8)])
    found = open_log(tmp_path)[0]
    np.testing.assert_array_equal(found.states, pose)
    assert found.rate_hz == 15.0 and found.robot == "panda" and found.actions is None


DAMAGE = {
    "no state": ({"steps/observation/state": None}, "has no 'observation/state', which features.json promises"),
    "text": ({"steps/action": [b"up"] * 5}, "'action' has 0 values"),
    "too few numbers": ({"steps/action": np.zeros(34, np.float32)}, "34 values, no multiple of the 7 per step"),
    "fewer steps": ({"steps/action": np.zeros(28, np.float32)}, "states 5.*actions 4"),
    "fewer images": ({"steps/observation/wrist": [b"x"] * 4}, "wrist 4"),
    "a NaN": ({"steps/action": np.full(35, np.nan, np.float32)}, "NaN or an infinity at step 0"),
    "no steps": ({"steps/observation/state": np.zeros(0, np.float32)}, "has 0 values"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_wrong_episode_is_named(tmp_path, name):
    changes, message = DAMAGE[name]
    write_rlds(tmp_path)
    gone = {key for key, value in changes.items() if value is None}
    record = rlds_episode(0, 5, **{key: value for key, value in changes.items() if value is not None})
    if gone:
        record = record.replace(b"steps/observation/state", b"steps/observation/other")
    write_records(tmp_path / SHARDS[0], [record, rlds_episode(1, 8)])
    log = open_log(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        log[0]
    assert f"{SHARDS[0]}: episode 0" in str(caught.value)
    assert len(log[1]) == 8


def test_images_that_are_none_are_named(tmp_path):
    write_rlds(tmp_path)
    for data in (b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", pictures(0, 1).tobytes()):
        write_records(tmp_path / SHARDS[0], [rlds_episode(0, 5, **{"steps/observation/wrist": [data] * 5}), rlds_episode(1, 8)])
        with pytest.raises(DataError, match="episode 0: 'wrist' at step 2 cannot be decoded"):
            open_log(tmp_path)[0].frames("wrist", slice(2, None))


FEATURES_DAMAGE = [
    ({}, "describes no episodes"), ({"featuresDict": {"features": {"steps": {"sequence": {"feature": 3}}}}}, "describes no episodes"),
    ([], "must hold a JSON object"),
]


@pytest.mark.parametrize(("table", "message"), FEATURES_DAMAGE)
def test_wrong_features_are_named(tmp_path, table, message):
    write_json(write_rlds(tmp_path) / "features.json", table)
    with pytest.raises(DataError, match=message):
        open_log(tmp_path)


def test_features_nested_without_end_are_refused(tmp_path):
    inner = json.loads((write_rlds(tmp_path) / "features.json").read_text())
    step = inner["featuresDict"]["features"]["steps"]["sequence"]["feature"]
    deep = {"text": {}}
    for _ in range(100):
        deep = {"featuresDict": {"features": {"a": deep}}}
    step["featuresDict"]["features"]["deep"] = deep
    write_json(tmp_path / "features.json", inner)
    with pytest.raises(DataError, match="more than 16 deep"):
        open_log(tmp_path)


def test_without_features_the_lack_is_named(tmp_path):
    (write_rlds(tmp_path) / "features.json").unlink()
    with pytest.raises(DataError, match=r"without features\.json"):
        open_log(tmp_path / SHARDS[0])


def test_a_hundred_thousand_episodes_open_at_once(tmp_path):
    write_rlds(tmp_path)
    tiny = (tmp_path / SHARDS[1]).read_bytes()
    small = write_records(tmp_path / "small.tfrecord", [b"x" * 10]).read_bytes()
    write_json(tmp_path / "dataset_info.json", {"name": "push_set"})
    (tmp_path / SHARDS[1]).write_bytes(tiny + small * 100_000)
    (tmp_path / "small.tfrecord").unlink()
    begin = time.process_time()
    log = open_log(tmp_path)
    assert len(log) == 100_003 and len(log[2]) == 6
    assert time.process_time() - begin < 2.0


@pytest.fixture(scope="module")
def bridge(shared_data):
    return shared_data / "bridge_rlds"


def test_25_real_episodes_of_a_widowx(bridge):
    log = open_log(bridge)
    assert len(log) == 25
    for episode in log:
        assert len(episode) == 10 and episode.rate_hz == 5.0 and episode.robot == "widowx"
        assert episode.states.shape == episode.actions.shape == (10, 7) and np.isfinite(episode.states).all()
        assert (episode.states[:, 6] >= 0).all() and (episode.states[:, 6] <= 1).all()
        for camera in ("image_0", "image_1", "image_2"):
            images = episode.frames(camera)
            assert images.shape == (10, 64, 64, 3) and 60 < images.mean() < 180
            assert np.abs(np.diff(images.astype(int), axis=0)).mean() > 0.5
    np.testing.assert_array_equal(log[3].frames("image_0")[[7, 2]], log[3].frames("image_0", np.array([7, 2])))


def test_the_real_episodes_are_those_of_a_widowx_at_5_hz(bridge, root):
    """The limits of its robot.toml are percentiles of these episodes."""
    spec = RobotSpec.load(root / "controllers" / "widowx")
    for episode in open_log(bridge):
        check_limits(episode, spec)


def motion(bridge):
    """Commands and the motion that followed, (25 * 9, 7) each."""
    log = list(open_log(bridge))
    turned = [(Rotation.from_euler("xyz", one.states[1:, 3:6]) * Rotation.from_euler("xyz", one.states[:-1, 3:6]).inv()).as_euler("xyz")
              for one in log]
    steps = np.concatenate([np.diff(one.states, axis=0) for one in log])
    steps[:, 3:6] = np.concatenate(turned)
    return np.concatenate([one.actions[:-1] for one in log]), steps


def test_real_motion_follows_the_real_commands(bridge):
    """So positions are metres, angles radians about fixed axes in the base frame, and action t leads from state t to t + 1."""
    commands, steps = motion(bridge)
    correlation = [np.corrcoef(commands[:, axis], steps[:, axis])[0, 1] for axis in range(6)]
    assert min(correlation) > 0.8, correlation
    slope = (commands[:, :6] * steps[:, :6]).sum(0) / (commands[:, :6] ** 2).sum(0)
    assert (slope > 0.6).all() and (slope < 1.1).all(), slope
    assert np.corrcoef(commands[:, 6], steps[:, 6])[0, 1] > 0.5


def test_a_real_gripper_starts_open_and_closes_onto_things(bridge):
    """It always opens to one value, and stops at another one for each thing it holds: 0 is open."""
    log = list(open_log(bridge))
    assert max(episode.states[0, 6] for episode in log) < 0.02
    assert sum(episode.states[-1, 6] > 0.1 for episode in log) > 10
    held = {round(float(episode.states[-1, 6]), 2) for episode in log if abs(episode.states[-1, 6] - episode.states[-2, 6]) < 0.01
            and episode.states[-1, 6] > 0.1}
    assert len(held) >= 4


def test_a_damaged_copy_of_the_real_file_is_noticed(bridge, tmp_path):
    shutil.copytree(bridge, tmp_path / "copy")
    path = next((tmp_path / "copy").glob("*.tfrecord-*"))
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    log, wrong = open_log(tmp_path / "copy"), []
    for number in range(len(log)):
        try:
            log[number]
        except DataError as error:
            wrong.append(str(error))
    assert len(wrong) == 1 and "wrong checksum" in wrong[0]
    place, length = map(int, index_records(path)[0])
    assert set(parse_example(read_record(path, place, length))) > {"steps/action", "steps/observation/state"}
