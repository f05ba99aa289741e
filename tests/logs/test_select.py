"""What a controller learns from: the robot's own episodes, at its rate."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.log_windows import LogReader
from lamplan.checkup import examine, new_robot
from lamplan.errors import DataError, InputError
from lamplan.logs import Episode, LogWriter, at_rate, episodes_of, open_log
from lamplan.logs.rate import rate_advice
from lamplan.robot import RobotSpec
from tests.logs.helpers import edit, episode, spec
from tests.logs.made_lerobot import write_lerobot3
from tests.logs.made_rlds import write_rlds
from tests.logs.synthetic import SERIALS, STEPS, droid, film, pictures, stamps_ms


def written(path: Path, robot: RobotSpec, count: int, bad: tuple[int, ...] = ()) -> Path:
    with LogWriter(path, robot=robot, env_name="table") as log:
        for number in range(count):
            frames, states, actions = episode(number)
            if number in bad:
                states = states.copy()
                states[3, 0] += 5.0
            log.write_episode(frames, states, actions)
    return path


def test_one_bad_episode_among_many_is_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = written(tmp_path / "log.hdf5", spec(), 20, bad=(7,))
    assert [one.source.rsplit("_")[-1] for one in episodes_of([log], spec())] == [str(i) for i in range(20) if i != 7]
    assert "left out" in (told := capsys.readouterr().err) and "demo_7" in told and "beyond panda's limits" in told


def damage(path: Path, what: str, number: int) -> str:
    """Spoils an episode of a log, and gives the words by which it is refused."""
    with edit(path) as file:
        demo = file[f"data/demo_{number}"]
        if what == "camera":
            del demo["obs/exterior_image"]
            return "no camera 'exterior_image', which robot.toml names; it has wrist_image"
        if what == "NaN":
            demo["obs/proprio"][2, 1] = np.nan
            return "NaN or an infinity at step 2"
        if what == "width":
            keys, keep = ("actions",), np.s_[:, :6]
        else:
            keys, keep = ("actions", "obs/proprio", "obs/exterior_image", "obs/wrist_image"), np.s_[:1]
        for key in keys:
            values = demo[key][:]
            del demo[key]
            demo[key] = values[keep]
        return "have shape (T, 7), found (6, 6)" if what == "width" else "1 step: there is no motion in it"


@pytest.mark.parametrize("what", ["camera", "NaN", "step", "width"])
def test_an_episode_that_cannot_be_used_is_named_and_left_out(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = written(tmp_path / "log.hdf5", spec(), 4)
    words = damage(log, what, 2)
    assert [one.source.rsplit("_")[-1] for one in episodes_of([log], spec())] == ["0", "1", "3"]
    assert words in (told := capsys.readouterr().err) and "left out" in told and "demo_2" in told
    troubles = [finding for finding in examine(log, spec()).troubles if "demo_2" in str(finding)]
    assert troubles, "what a fit leaves out, the check names"
    damage(log, what, 3)
    with pytest.raises(DataError, match=r"^2 of 4 episodes are of no use, too many to leave out; the first: .*demo_2"):
        episodes_of([log], spec())


def test_a_log_with_more_bad_episodes_than_by_accident_is_refused(tmp_path: Path) -> None:
    assert len(episodes_of([written(tmp_path / "log.hdf5", spec(), 20, bad=(7, 8))], spec())) == 18
    log = written(tmp_path / "worse.hdf5", spec(), 20, bad=(7, 8, 9))
    with pytest.raises(DataError, match=r"^3 of 20 episodes.*demo_7.*beyond panda's limits"):
        episodes_of([log], spec())
    with pytest.raises(DataError, match="beyond panda's limits"):
        episodes_of([written(tmp_path / "one.hdf5", spec(), 1, bad=(0,))], spec())


def test_an_episode_whose_video_lacks_a_frame_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    robot = replace(spec(), rate_hz=15.0, camera="wrist_left", low=np.full(7, -1.0), high=np.full(7, 1.0))
    for number in range(4):
        droid(tmp_path / "log" / f"run_{number}")
    film(tmp_path / "log" / "run_2" / "recordings" / "MP4" / f"{SERIALS['wrist']}.mp4", pictures(steps=STEPS - 1))
    assert [one.source.split("run_")[1][0] for one in episodes_of([tmp_path / "log"], robot)] == ["0", "1", "3"]
    assert "left out" in (told := capsys.readouterr().err) and "29 frames for 30 recorded states" in told
    assert len(episodes_of([tmp_path / "log"], replace(robot, camera="exterior_1_left"))) == 4


def test_a_log_given_twice_is_refused(tmp_path: Path) -> None:
    log = written(tmp_path / "log.hdf5", spec(), 2)
    (tmp_path / "again.hdf5").symlink_to(log)
    assert len(episodes_of([log, written(tmp_path / "other.hdf5", spec(), 2)], spec())) == 4
    for again in (log, tmp_path / "again.hdf5", tmp_path / ".." / tmp_path.name / "log.hdf5"):
        with pytest.raises(InputError, match=r"log .* is given twice"):
            episodes_of([log, again], spec())


def test_an_episode_that_two_logs_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    robot = replace(spec(), rate_hz=15.0, camera="wrist_left", low=np.full(7, -1.0), high=np.full(7, 1.0))
    for number in (9, 10, 11):
        droid(tmp_path / "droid" / f"run_{number}")
    monkeypatch.chdir(tmp_path)
    root = Path("droid")
    assert len(episodes_of([root / "run_11", root / "run_10"], robot)) == 2
    with pytest.raises(InputError, match=r"run_10/trajectory\.h5 is given twice, again by the log droid, .* give each episode once"):
        episodes_of([tmp_path / root / "run_11", tmp_path / root / "run_10", root], robot)
    sets, wide = write_lerobot3(tmp_path / "lerobot"), {"low": np.full(7, -10.0), "high": np.full(7, 10.0)}
    with pytest.raises(InputError, match="episode 0 is given twice"):
        episodes_of([sets, sets / "meta" / "info.json"], replace(robot, rate_hz=10.0, camera="front", **wide))
    records = write_rlds(tmp_path / "rlds")
    with pytest.raises(InputError, match="episode 0 is given twice"):
        episodes_of([records, next(records.glob("*00001-of*"))], replace(robot, rate_hz=10.0, camera="wrist", **wide))


def test_a_faster_log_is_read_at_the_robots_rate_and_a_slower_one_refused(tmp_path: Path) -> None:
    fast = replace(spec(), rate_hz=8.0)
    log = written(tmp_path / "fast.hdf5", fast, 3)
    slow, = (one for one in episodes_of([log], spec())[:1])
    whole = episodes_of([log], fast)[0]
    assert slow.rate_hz == 4.0 and np.array_equal(slow.states, whole.states[::2])
    with pytest.raises(DataError, match="8 Hz, but panda acts at 16 Hz"):
        episodes_of([log], replace(spec(), rate_hz=16.0))


def test_a_loop_that_keeps_its_rate_roughly_by_its_clock_is_that_of_one_robot(tmp_path: Path) -> None:
    """DROID's loop aims at 15 Hz and runs at 13.7 to 14.6."""
    for number, rate_hz in enumerate(np.linspace(13.7, 14.6, 7)):
        droid(tmp_path / "droid" / f"run_{number}", stamps=stamps_ms(rate_hz=rate_hz))
    troubles = examine(tmp_path / "droid").troubles
    assert not [trouble for trouble in troubles if trouble.topic in ("rate", "header")], troubles
    for given_hz, kept in ((None, STEPS), (7.0, STEPS // 2)):
        path, _ = new_robot(tmp_path / "droid", "mine", tmp_path / f"mine_{given_hz}", rate_hz=given_hz)
        robot = RobotSpec.load(path.parent)
        episodes = episodes_of([tmp_path / "droid"], robot)
        assert len(episodes) == 7 and all(abs(len(one) - kept) <= 1 for one in episodes)
        assert robot.rate_hz == pytest.approx(given_hz or 14.15, abs=0.01)
        assert not [trouble for trouble in examine(tmp_path / "droid", robot).troubles if trouble.topic == "rate"]
    robot, fastest = replace(robot, rate_hz=14.0), open_log(tmp_path / "droid")[6]
    assert rate_advice(fastest, robot) is None and LogReader(robot, 3, fastest.cameras, 16).stride(fastest) == 1
    unclocked = replace(fastest, times_s=None)
    assert rate_advice(unclocked, robot) is not None and LogReader(robot, 3, fastest.cameras, 16).stride(unclocked) == 2


@pytest.mark.parametrize(("recorded_hz", "outcome"), [(3.95, "same"), (4.05, "same"), (7.95, "resampled"), (15.0, "resampled"),
                                                      (3.9, "lower rate_hz"), (5.0, "set rate_hz in robot.toml to 5, or to 2.5 or less")])
def test_one_rule_says_which_rates_are_read_and_how(recorded_hz: float, outcome: str) -> None:
    _, states, actions = episode(0, 24)
    recorded = Episode(states, actions, recorded_hz, (), "log: 3", lambda camera, steps: np.empty((0, 0, 0, 3), np.uint8))
    if outcome in ("same", "resampled"):
        assert rate_advice(recorded, spec()) is None
        assert (at_rate(recorded, spec()) is recorded) == (outcome == "same")
        assert at_rate(recorded, spec()).rate_hz == (recorded_hz if outcome == "same" else 4.0)
    else:
        assert outcome in (rate_advice(recorded, spec()) or "")
        with pytest.raises(DataError, match=f"log: 3 was recorded at {recorded_hz:g} Hz, but panda acts at 4 Hz; .*{outcome}"):
            at_rate(recorded, spec())
