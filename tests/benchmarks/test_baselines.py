"""The baselines that need labels: trained in seconds on a tiny world, saved, read, and refused where they do not fit."""

import json
import shutil
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from benchmarks import baselines
from benchmarks.contenders import DEFAULT, GUIDED, JOINED, ROWS, STRIDING, Contenders, SearchBudget, Sources
from benchmarks.encoded_logs import EncodedEpisode, as_the_controller
from benchmarks.options import chosen, guarded, held_out_seed
from benchmarks.planned import Planned
from benchmarks.policies import Situation
from benchmarks.shapes import StraightLine
from lamplan.errors import DataError, InputError
from lamplan.lam import LatentActionModel
from lamplan.planner import Planner
from lamplan.presets import PRESETS
from lamplan.robot import RobotSpec
from lamplan.rollout import Precision
from lamplan.search import CEM
from lamplan.train.labelled import split
from tests import tiny
from tests.benchmarks.untrained import checkpoint_and_robot

BUDGET = SearchBudget(8, 1, 2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """A tiny untrained checkpoint, a rover's controller for it, and baselines trained for a few steps."""
    folder = tmp_path_factory.mktemp("baselines")
    robot = checkpoint_and_robot(folder, "rover")
    spec = RobotSpec.load(robot)
    log = tiny.log(folder / "log.hdf5", spec, episodes=4)
    baselines.main(["--log", str(log), "--robot", str(robot), "--checkpoint", str(folder / "checkpoint"), "--out", str(folder / "out"),
                    "--steps", "30", "--device", "cpu"])
    return Sources(robot, folder / "checkpoint", None, folder / "out", "cpu")


@pytest.mark.parametrize("name", [row for row in ROWS if row not in ("lam_wild", "oracle", DEFAULT, *STRIDING)])
def test_every_row_plans_within_the_limits(trained: Sources, name: str) -> None:
    contenders = Contenders(trained, 8, BUDGET, BUDGET, StraightLine(), whole_plan=name == JOINED)
    (policy,) = contenders.build([name])
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    situation = Situation(images, images[::-1].copy(), 3, lambda b: None)
    decision = policy.decide(situation)
    # Of a plan whose first steps alone are executed, rows that head straight for the goal plan as the default does.
    steps = trained.lam.config.max_stride if name in ("regression", "proposal") else 8
    assert policy.name == name and decision.actions.shape == (2, steps, 3)
    assert (decision.actions >= trained.robot.low - 1e-12).all() and (decision.actions <= trained.robot.high + 1e-12).all()
    np.testing.assert_array_equal(decision.actions, policy.decide(situation).actions)
    assert (decision.predicted is not None) == (name in ("lam_in_domain", "lam_in_domain_proposals", GUIDED, "action_labelled"))


@pytest.mark.parametrize("name", STRIDING)
def test_rows_that_imagine_the_horizon_in_one_step(trained: Sources, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert Contenders(trained, 2, BUDGET, BUDGET).build([name]) == []
    assert "has not learned to imagine 2 steps in one" in capsys.readouterr().out
    trained.lam.config = replace(trained.lam.config, max_stride=2)
    (policy,) = Contenders(trained, 2, BUDGET, BUDGET).build([name])
    trained.lam.config = replace(trained.lam.config, max_stride=1)
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    decision = policy.decide(Situation(images, images[::-1].copy(), 3, lambda b: None))
    assert decision.actions.shape == (2, 2, 3) and decision.predicted is not None
    assert (decision.actions >= trained.robot.low - 1e-12).all() and (decision.actions <= trained.robot.high + 1e-12).all()


def test_the_guided_row_strides_where_the_model_can_and_takes_the_protocols_search_where_not(trained: Sources) -> None:
    searches = {}
    for strides in (1, 2):
        trained.lam.config = replace(trained.lam.config, max_stride=strides)
        (policy,) = Contenders(trained, 2, BUDGET, BUDGET).build([GUIDED])
        assert isinstance(policy, Planned) and policy.planner.proposals
        searches[policy.planner.stride] = policy.planner.search
    trained.lam.config = replace(trained.lam.config, max_stride=1)
    assert searches == {1: CEM(8, 1, 2, 2), 2: PRESETS["guided"].search}


def test_the_default_row_plans_as_a_loaded_planner_does(trained: Sources, capsys: pytest.CaptureFixture[str]) -> None:
    (policy,) = Contenders(trained, 8, BUDGET, BUDGET, StraightLine()).build([DEFAULT])
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    plan = Planner.load(trained.checkpoint, trained.robot_folder).plan(images, images[::-1].copy(), seed=3)
    np.testing.assert_array_equal(policy.decide(Situation(images, images[::-1].copy(), 3, lambda b: None)).actions, plan.actions)
    assert Contenders(trained, 8, BUDGET, BUDGET).build([DEFAULT]) == []
    assert Contenders(trained, 8, BUDGET, BUDGET, StraightLine(), whole_plan=True).build([DEFAULT]) == []
    assert capsys.readouterr().out.count(f"row {DEFAULT} left out") == 2


@pytest.mark.parametrize("name", ["lam_in_domain", "action_labelled"])
def test_rows_are_imagined_in_the_precision_that_is_asked_for(trained: Sources, name: str) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    predicted = []
    for precision in get_args(Precision):
        (policy,) = Contenders(replace(trained, precision=precision), 2, BUDGET, BUDGET).build([name])
        assert isinstance(policy, Planned) and policy.planner.dynamics.precision == precision  # type: ignore[attr-defined]
        predicted.append(policy.decide(Situation(images, images[::-1].copy(), 3, lambda b: None)).predicted)
    assert predicted[0] is not None and np.abs(predicted[0] - predicted[1]).max() > 0


def test_behaviour_mean_is_that_of_the_log(trained: Sources) -> None:
    (policy,) = Contenders(trained, 8, BUDGET, BUDGET).build(["behaviour_mean"])
    images = np.zeros((1, 32, 32, 3), np.uint8)
    mean = policy.decide(Situation(images, images, 0, lambda b: None)).actions[0, 0]
    assert 0.0 < mean[0] < 0.3 and abs(mean[1]) < 0.05 and mean[2] == 0.0


def test_rows_without_weights_are_left_out_aloud(trained: Sources, capsys: pytest.CaptureFixture[str]) -> None:
    bare = Sources(trained.robot_folder, trained.checkpoint, None, None, "cpu")
    assert [policy.name for policy in Contenders(bare, 8, BUDGET, BUDGET).build(["zero", "lam_wild", "behaviour_mean"])] == ["zero"]
    said = capsys.readouterr().out
    assert "row lam_wild left out: no --checkpoint-wild given" in said and "row behaviour_mean left out: no --baselines given" in said


def test_rows_without_a_goal_regression_are_left_out_aloud(trained: Sources, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    robot = tmp_path / "robot"
    shutil.copytree(trained.robot_folder, robot)
    (robot / "checkpoint" / "regression.json").unlink()
    bare = Sources(robot, trained.checkpoint, None, None, "cpu")
    assert [policy.name for policy in Contenders(bare, 8, BUDGET, BUDGET).build(["regression", "proposal", GUIDED])] == ["proposal"]
    assert "row regression left out: the controller has no goal regression" in capsys.readouterr().out


def test_baselines_of_another_checkpoint_are_refused(trained: Sources, tmp_path: Path) -> None:
    LatentActionModel(trained.lam.config).save(tmp_path)
    other = Sources(trained.robot_folder, tmp_path, None, trained.baselines, "cpu")
    with pytest.raises(InputError, match="train them again"):
        Contenders(other, 8, BUDGET, BUDGET).build(["behaviour_mean"])


def test_baselines_of_actions_of_another_meaning_are_refused(trained: Sources, tmp_path: Path) -> None:
    assert json.loads((trained.baselines / "behaviour.json").read_text())["source"] == "measured"  # type: ignore[operator]
    shutil.copytree(trained.robot_folder, tmp_path / "rover")
    description = (tmp_path / "rover" / "robot.toml").read_text()
    (tmp_path / "rover" / "robot.toml").write_text(description.replace("[action]", '[action]\nsource = "commanded"'))
    other = replace(trained, robot_folder=tmp_path / "rover")
    with pytest.raises(InputError, match=r"trained on actions of source 'measured', but .* says 'commanded'"):
        Contenders(other, 8, BUDGET, BUDGET).build(["behaviour_mean"])


def test_a_missing_baselines_folder_is_a_sentence(trained: Sources, tmp_path: Path) -> None:
    other = Sources(trained.robot_folder, trained.checkpoint, None, tmp_path, "cpu")
    with pytest.raises(InputError, match="--out folder"):
        Contenders(other, 8, BUDGET, BUDGET).build(["behaviour_mean"])


def test_options_refuse_what_they_do_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert chosen("zero, oracle", ROWS, "rows") == ["zero", "oracle"]
    with pytest.raises(ArgumentTypeError, match="training data"):
        held_out_seed("5")
    with pytest.raises(SystemExit) as ended:
        guarded(lambda: print(chosen("zerro", ROWS, "rows")))
    assert ended.value.code == 2
    assert "error: --rows has zerro; choose from zero" in capsys.readouterr().err


@pytest.mark.parametrize("count", [2, 9, 10, 1599])
def test_rivals_learn_from_the_controllers_episodes_and_never_see_the_ones_it_is_measured_on(count: int) -> None:
    episodes = [EncodedEpisode(torch.full((2, 1, 1), float(number)), torch.zeros(1, 3)) for number in range(count)]
    training, validation = ([int(one.features[0, 0, 0]) for one in part] for part in as_the_controller(episodes))
    assert (training, validation) == (split(count).training, split(count).validation)
    with pytest.raises(DataError, match=r"1 episode\(s\); training a baseline"):
        as_the_controller(episodes[:1])
