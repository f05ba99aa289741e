"""Both published protocols on synthetic logs: closed forms, and the programs from end to end with an untrained model."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import droid, recon
from benchmarks.displacement import displacement_errors
from benchmarks.dynamics import Shaped
from benchmarks.literature import action_score
from benchmarks.log_windows import LogReader, gather
from benchmarks.open_loop import decide_all
from benchmarks.planned import Planned
from benchmarks.shapes import StraightLine
from benchmarks.trajectories import path_errors
from lamplan.logs import LogWriter
from lamplan.planner import Planner
from lamplan.report import Results
from lamplan.robot import RobotSpec
from lamplan.search import CEM
from tests.benchmarks.fakes import PANDA, ROVER, PointDynamics, picture
from tests.benchmarks.untrained import checkpoint_and_robot
from tests.logs import synthetic

RNG = np.random.default_rng


def log_of(path: Path, robot: RobotSpec, states: np.ndarray, places: np.ndarray) -> Path:
    """A log whose pictures show the places (T, 3)."""
    with LogWriter(path, robot=robot, env_name="point") as log:
        actions = np.concatenate([robot.differences(states), np.zeros((1, robot.action_dim))])
        log.write_episode({robot.camera: np.stack([picture(place) for place in places])}, states, robot.clip(actions))
    return path


def test_an_arm_planned_with_perfect_dynamics_has_no_error(tmp_path: Path) -> None:
    states = np.zeros((20, 7))
    # Pictures show multiples of 5 mm exactly.
    states[:, :3] = 0.5 + np.cumsum(RNG(0).integers(-8, 9, (20, 3)), axis=0) * 0.005
    path = log_of(tmp_path / "point.hdf5", PANDA, states, states[:, :3])
    windows = LogReader(PANDA, 3, (PANDA.camera,), image_size=4).draw(gather([path], held_out=False), 4, seed=0)
    planner = Planner(PointDynamics(), droid.as_droid_searches(PANDA), droid.SEARCH.cem(3))
    decision, _ = decide_all(Planned("lam", planner, None, 3), windows, None, batch=2, seed=0)
    error = displacement_errors(PANDA, decision.actions, windows.states)["delta_xyz", "m"]
    still = displacement_errors(PANDA, np.zeros((4, 3, 7)), windows.states)["delta_xyz", "m"]
    assert error.max() < 2e-3 < 0.03 < still.min()


class FlatDynamics(PointDynamics):
    """A rover that starts along x, of which the picture shows a third of x and of y."""

    def rollout(self, past, actions: Tensor) -> Tensor:
        yaw = actions[..., 2].cumsum(dim=2) - actions[..., 2]  # before each step
        dx, dy = actions[..., 0], actions[..., 1]
        steps = torch.stack([yaw.cos() * dx - yaw.sin() * dy, yaw.sin() * dx + yaw.cos() * dy, torch.zeros_like(dx)], dim=-1) / 3
        return past.present[:, None, None] + steps[..., None, :].cumsum(dim=2)


def test_a_rover_planned_with_perfect_dynamics_has_no_error(tmp_path: Path) -> None:
    states = np.zeros((12, 3))
    states[:, 0], states[:, 1] = 0.21 * np.arange(12), 0.06 * np.arange(12)  # 0.07 and 0.02 in the picture: multiples of 5 mm
    path = log_of(tmp_path / "flat.hdf5", ROVER, states, states * [1 / 3, 1 / 3, 0])
    windows = LogReader(ROVER, 8, (ROVER.camera,), image_size=4).draw(gather([path], held_out=False), 3, seed=0)
    searched, shape = recon.as_recon_searches(ROVER), StraightLine()
    planner = Planner(Shaped(FlatDynamics(), shape, 8, searched), searched, CEM(120, 12, 5, 1))
    decision, _ = decide_all(Planned("lam", planner, shape, 8), windows, None, batch=3, seed=0)
    errors = path_errors(decision.actions, windows.states)
    assert errors["ATE", "m"].max() < 2e-3 and errors["RPE", "m"].max() < 1e-3


def test_the_searches_are_the_published_ones() -> None:
    searched = droid.as_droid_searches(PANDA)
    np.testing.assert_array_equal(searched.high, [0.1] * 6 + [0.75])
    np.testing.assert_array_equal(searched.low, -searched.high)
    np.testing.assert_array_equal(searched.prior_mean, np.zeros(7))
    np.testing.assert_array_equal(searched.prior_std, np.full(7, 0.1))
    assert (droid.SEARCH.samples, droid.SEARCH.iterations, droid.SEARCH.elites, droid.HORIZON) == (300, 15, 10, 3)
    assert (recon.SEARCH.samples, recon.SEARCH.iterations, recon.SEARCH.elites, recon.HORIZON) == (120, 1, 5, 8)
    assert (droid.PROTOCOL.episodes, recon.PROTOCOL.episodes) == (64, 100)


def test_the_published_searches_have_no_limit_to_what_changes_from_step_to_step() -> None:
    assert droid.as_droid_searches(replace(PANDA, change=np.full(7, 0.01))).change is None
    assert recon.as_recon_searches(replace(ROVER, change=np.array([0.05, 0.02, 0.1]))).change is None


def test_the_action_score() -> None:
    assert [action_score(error) for error in (0.0, 0.0398, 0.1, 0.4)] == pytest.approx([80.0, 48.16, 0.0, 0.0])
    row = Results("droid", "", "", "", 0).add("lam", "droid", "delta_xyz", "m", RNG(0).uniform(0.02, 0.08, 20))
    (scored,) = droid.scored(row)
    assert scored.ci_low < scored.value < scored.ci_high
    assert scored.value == pytest.approx(800 * (0.1 - row.value)) and scored.ci_high == pytest.approx(800 * (0.1 - row.ci_low))


def run(main, tmp_path: Path, robot: str, log: Path, *options: str) -> Results:
    home = tmp_path / robot if (tmp_path / robot).exists() else checkpoint_and_robot(tmp_path, robot)
    main([str(log), "--checkpoint", str(tmp_path / "checkpoint"), "--robot", str(home), "--out", str(tmp_path / "out"), "--device", "cpu",
          "--samples", "6", "--iterations", "1", "--episodes", "3", *options])
    return Results.read(tmp_path / "out")


def test_droid_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        synthetic.droid(tmp_path / "log" / str(number))
    results = run(droid.main, tmp_path, "panda", tmp_path / "log", "--part", "droid,own_limits")
    rows = {(row.task, row.name, row.metric): row for row in results.rows}
    # The synthetic arm moves by the same 0.01, 0.005 and -0.004 m a frame: twelve of them in a window.
    assert rows["droid", "zero", "delta_xyz"].value == pytest.approx(12 * 0.019)
    assert rows["droid", "zero", "delta_xyz"].ci_high == pytest.approx(12 * 0.019)
    assert rows["droid", "prior", "delta_xyz"].value == pytest.approx(12 * 0.019)
    assert rows["droid", "zero", "action_score"].value == 0.0
    planners = {"lam", "lam_proposals", "lam_guided"}
    assert {name for task, name, _ in rows if task == "droid"} == {"zero", "random", "prior", "regression", "proposal"} | planners
    assert {name for task, name, _ in rows if task == "own_limits"} == planners
    assert "3.75 Hz, out of 2 episodes" in results.budget["windows"]
    printed = capsys.readouterr().out
    assert "quoted, not measured here" in printed and "arXiv 2601.05230" in printed
    quoted = json.loads((tmp_path / "out" / "results.json").read_text())["quoted"]
    assert {"name": "LAM noisy, high capacity", "metric": "delta_xyz", "unit": "m", "value": 0.1}.items() <= quoted[0].items()
    assert not {quote["name"] for quote in quoted} & {row.name for row in results.rows}
    assert "Published, not measured here" in (tmp_path / "out" / "report.html").read_text()
    assert len(list((tmp_path / "out" / "videos").iterdir())) == 6


def test_recon_from_end_to_end(tmp_path: Path) -> None:
    synthetic.recon(tmp_path / "log" / "jackal.hdf5")
    index = tmp_path / "index.pkl"
    index.write_bytes(pickle.dumps([("jackal", start, 8, 8) for start in (0, 4, 9)]))
    results = run(recon.main, tmp_path, "rover", tmp_path / "log", "--index", str(index), "--part", "arc")
    rows = {(row.task, row.name, row.metric): row for row in results.rows}
    # What standing still misses: the distance of every later pose from the first, and the length of every later step.
    truth = synthetic.rover_states()[:, :2]
    ate = [np.sqrt((np.linalg.norm(truth[s + 1 : s + 9] - truth[s], axis=1) ** 2).mean()) for s in (0, 4, 9)]
    rpe = [np.sqrt((np.linalg.norm(np.diff(truth[s + 1 : s + 9], axis=0), axis=1) ** 2).mean()) for s in (0, 4, 9)]
    assert rows["arc", "zero", "ATE"].value == pytest.approx(np.mean(ate))
    assert rows["arc", "zero", "RPE"].value == pytest.approx(np.mean(rpe))
    assert rows["arc", "zero", "ATE_waypoints"].value == pytest.approx(4 * np.mean(ate))
    assert rows["arc", "lam", "ATE"].n == 3
    # The three windows are of one drive and drawn together: of one there is nothing to draw from.
    assert rows["arc", "zero", "ATE"].ci_low == rows["arc", "zero", "ATE"].ci_high == pytest.approx(np.mean(ate))
    assert "3 of 8 steps at 4 Hz, out of 1 episodes" in results.budget["windows"]
    nwm = {quote.metric: quote.value for quote in results.quoted if quote.name == "NWM"}
    assert nwm == {"ATE": pytest.approx(0.2825), "RPE": pytest.approx(0.0875), "ATE_waypoints": 1.13, "RPE_waypoints": 0.35}


def test_a_dry_run_tells_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        synthetic.droid(tmp_path / "log" / str(number))
    (tmp_path / "log" / "1" / "trajectory.h5").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        run(droid.main, tmp_path, "panda", tmp_path / "log", "--dry-run")
    printed = capsys.readouterr().out
    assert ended.value.code == 0 and not (tmp_path / "out").exists()
    for part in ("2 episodes, 2 looked into; 1 of these can be used and hold 18 windows of 3 steps", "15 Hz, cameras exterior_1_left",
                 "a step is 4 frame(s) of exterior_1_left: 3.75 Hz", "not usable", "huggingface.co/datasets/facebook/jepa-wms"):
        assert part in printed, printed


def test_a_robot_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "controllers").mkdir()
    checkpoint_and_robot(tmp_path / "controllers", "panda")
    synthetic.droid(tmp_path / "log" / "0")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        droid.main(["log", "--robot", "panda", "--checkpoint", "controllers/checkpoint", "--dry-run"])
    assert ended.value.code == 0 and "robot panda: arm, 4 Hz" in capsys.readouterr().out


def test_a_dry_run_tells_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = checkpoint_and_robot(tmp_path, "rover")
    with pytest.raises(SystemExit) as ended:
        recon.main(["--checkpoint", str(tmp_path / "checkpoint"), "--robot", str(home), "--dry-run", "--index", str(tmp_path / "none.pkl")])
    printed = capsys.readouterr().out
    assert ended.value.code == 1
    assert "missing: a log" in printed and "none.pkl cannot be read" in printed and "navigation_eval.pkl of github.com" in printed
    with pytest.raises(SystemExit) as ended:
        droid.main([str(tmp_path / "nothing"), "--robot", str(home), "--checkpoint", str(tmp_path / "checkpoint"), "--dry-run"])
    assert ended.value.code == 1
    assert "missing: a robot of kind 'arm'; rover is of kind 'mobile'" in capsys.readouterr().out


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    home = checkpoint_and_robot(tmp_path, "rover")
    given = ["--robot", str(home), "--checkpoint", str(tmp_path / "checkpoint"), "--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=r"no log given. The data that this protocol was published on:\nRECON"):
        recon.main(given)
    with pytest.raises(ValueError, match="the droid protocol is for robots of kind 'arm'; rover is of kind 'mobile'"):
        droid.main([str(tmp_path), *given])
