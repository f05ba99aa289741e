"""Windows out of logs: at the robot's rate, of known frames and states, and the published ones where an index is given."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.log_windows import LogReader, gather
from benchmarks.window_index import indexed, read_index
from lamplan.errors import DataError, InputError
from lamplan.robot import RobotSpec
from tests.benchmarks.fakes import PANDA, ROVER
from tests.logs import synthetic

LEFT = ("exterior_1_left",)


def reader(robot: RobotSpec = PANDA, cameras: tuple[str, ...] = LEFT, horizon: int = 3) -> LogReader:
    return LogReader(robot, horizon, cameras, image_size=16)


@pytest.mark.parametrize("header_fps", [60, 7])
def test_droid_steps_at_every_fourth_frame_whatever_its_headers_say(tmp_path: Path, header_fps: int) -> None:
    synthetic.droid(tmp_path / "a", fps=header_fps)
    windows = reader().draw(gather([tmp_path], held_out=False), 6, seed=0)
    assert windows.frames.shape == (6, 4, 16, 16, 3) and windows.states.shape == (6, 4, 7)
    np.testing.assert_allclose(windows.rates_hz, 15 / 4, rtol=1e-3)
    truth = synthetic.arm_states()
    starts = [int(np.argmin(np.abs(truth[:, 0] - states[0, 0]))) for states in windows.states]
    assert len(set(starts)) > 2
    for start, states, frames in zip(starts, windows.states, windows.frames, strict=True):
        steps = start + 4 * np.arange(4)
        np.testing.assert_array_equal(states, truth[steps])
        np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [synthetic.grey(step) for step in steps], atol=3)


def test_the_franka_set_steps_at_every_eighth_frame_as_published(tmp_path: Path) -> None:
    synthetic.franka(tmp_path / "run_0")
    windows = reader(cameras=("exterior_image_2_left",)).draw(gather([tmp_path], held_out=False), 2, seed=0)
    np.testing.assert_allclose(windows.rates_hz, 3.75)
    np.testing.assert_allclose(np.diff(windows.states[:, :, 0]), 0.08)


def test_the_same_seed_draws_the_same_windows(tmp_path: Path) -> None:
    synthetic.franka(tmp_path / "run_0")
    episodes = gather([tmp_path], held_out=False)
    first, again, other = (reader(cameras=("exterior_image_2_left",)).draw(episodes, 5, seed) for seed in (3, 3, 9))
    np.testing.assert_array_equal(first.states, again.states)
    assert (first.states != other.states).any()


def test_windows_are_in_the_frame_and_of_the_source_that_the_robot_says(tmp_path: Path) -> None:
    synthetic.droid(tmp_path / "a")
    episodes = gather([tmp_path], held_out=False)
    axes = Rotation.from_euler("xyz", synthetic.CAMERA_POSES["ext1"][3:]).as_matrix()
    there = replace(PANDA, frame="camera", workspace_low=None, workspace_high=None)
    seen, here = (reader(robot).draw(episodes, 3, seed=0) for robot in (there, PANDA))
    for one, other in zip(seen.states, here.states, strict=True):
        np.testing.assert_allclose(there.to_base(there.differences(one), axes), PANDA.differences(other), atol=1e-9)
    with pytest.raises(DataError, match="one command for a longer step"):
        reader(replace(PANDA, source="commanded")).draw(episodes, 1, seed=0)
    told = reader(replace(PANDA, source="commanded", rate_hz=15.0)).draw(episodes, 2, seed=0)
    np.testing.assert_allclose(np.diff(told.states, axis=1), np.tile([0.02, 0, 0, 0, 0, 0, 0], (2, 3, 1)), atol=1e-9)
    np.testing.assert_allclose(told.rates_hz, 15, rtol=1e-3)


def test_a_log_that_is_too_slow_or_shows_other_cameras_or_another_robot_is_a_sentence(tmp_path: Path) -> None:
    synthetic.recon(tmp_path / "jackal.hdf5")
    episodes = gather([tmp_path], held_out=False)
    with pytest.raises(DataError, match=r"at 4 Hz, too slow for rover, which acts at 6 Hz"):
        reader(replace(ROVER, rate_hz=6.0), ("rgb_left",)).draw(episodes, 1, seed=0)
    with pytest.raises(DataError, match=r"none of the cameras front_image; it has rgb_left"):
        reader(ROVER, ("front_image",)).draw(episodes, 1, seed=0)
    with pytest.raises(DataError, match=r"states of panda have shape \(T, 7\), found \(30, 3\)"):
        reader(PANDA, ("rgb_left",)).draw(episodes, 1, seed=0)
    with pytest.raises(DataError, match="too few for a window"):
        reader(ROVER, ("rgb_left",), horizon=40).draw(episodes, 1, seed=0)


def test_a_damaged_episode_is_drawn_again_and_told(tmp_path: Path) -> None:
    for number in range(3):
        synthetic.recon(tmp_path / f"{number}.hdf5")
    (tmp_path / "1.hdf5").write_bytes(b"cut short")
    mine = reader(ROVER, ("rgb_left",))
    windows = mine.draw(gather([tmp_path], held_out=False), 12, seed=0)
    assert set(windows.episodes.tolist()) == {0, 2}
    assert list(mine.refused) == ["1"] and "1.hdf5" in mine.refused["1"]


def test_held_out_episodes_are_the_last_tenth(tmp_path: Path) -> None:
    for number in range(20):
        synthetic.start_goal(tmp_path / f"{number:02d}.npz", rows=1)
    paths = sorted(tmp_path.iterdir())
    assert len(gather(paths, held_out=False)) == 20
    assert [Path(opened().source.split(":")[0]).name for opened in gather(paths, held_out=True)] == ["18.npz", "19.npz"]
    assert len(gather(paths[:3], held_out=True)) == 1


def index(path: Path, rows: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(rows, protocol=protocol))
    return path


@pytest.mark.parametrize("form", ["hdf5", "pictures"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_the_published_index_names_the_windows(tmp_path: Path, form: str, protocol: int) -> None:
    for name in ("first", "second"):
        if form == "hdf5":
            synthetic.recon(tmp_path / "log" / f"{name}.hdf5")
        else:
            synthetic.recon_pictures(tmp_path / "log" / name)
    path = index(tmp_path / "navigation_eval.pkl", [("second", 5, 8, 8), ("first", np.int64(21), 8, 8)], protocol)
    places = read_index(path, 8)
    assert places == [("second", 5), ("first", 21)]
    mine = reader(ROVER, ("rgb_left",), horizon=8)
    windows = mine.chosen(indexed(gather([tmp_path / "log"], held_out=False), places, path), seed=0)
    np.testing.assert_allclose(windows.states, [synthetic.rover_states()[start : start + 9] for start in (5, 21)], rtol=1e-6)
    again = mine.chosen(indexed(gather([tmp_path / "log"], held_out=False), [*places, ("second", 9)], path), seed=0)
    assert again.episodes.tolist() == [0, 1, 0]


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return eval, ("open('/tmp/lamplan-ran', 'w')",)


@pytest.mark.parametrize(("rows", "message"), [
    ([("a", 1, 8, 20)], "the goal of row 0 lies 8 to 20 steps ahead; this protocol's lie 8"),
    ([("a", 1, 8)], "expected \\(trajectory, step, nearest goal, farthest goal\\)"),
    ([(1, 1, 8, 8)], "row 0 is"), ([("a", 1.5, 8, 8)], "row 0 is"), ([], "no windows"),
    ({"a": 1}, "holds a dict, not a list of rows"), ([("a", [1], 8, 8)], "a row that holds other things"),
    ([Runs()], "never unpickled"),
])
def test_an_index_of_another_form_is_a_sentence(tmp_path: Path, rows: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_index(index(tmp_path / "index.pkl", rows), 8)
    assert not Path("/tmp/lamplan-ran").exists()


def test_an_index_of_other_data_is_a_sentence(tmp_path: Path) -> None:
    synthetic.recon(tmp_path / "log" / "first.hdf5")
    episodes, path = gather([tmp_path / "log"], held_out=False), tmp_path / "index.pkl"
    with pytest.raises(InputError, match=r"1 of the 2 trajectories in .* such as elsewhere"):
        indexed(episodes, [("first", 0), ("elsewhere", 0)], path)
    with pytest.raises(DataError, match="no window of 8 from step 22 on"):
        reader(ROVER, ("rgb_left",), horizon=8).chosen(indexed(episodes, [("first", 22)], path), seed=0)
