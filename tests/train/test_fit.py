"""`lamplan fit` from end to end on a tiny world: few episodes, several cameras, the card, and a kill in the middle."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lamplan import CheckpointError, InputError, LatentActionModel, LatentPlanner, Planner, RobotSpec
from lamplan.cli import main
from lamplan.controllers import load_regression
from lamplan.logs import LogWriter
from lamplan.models.controller import ControllerConfig
from lamplan.train import controller as fitting
from lamplan.train import loop
from lamplan.train.controller import fit
from lamplan.train.loop import Budget
from lamplan.train.snapshots import settle
from lamplan.weights import fingerprint
from tests import tiny
from tests.models.test_networks import LAM, scrambled
from tests.train import cluster

ROBOT = Path(__file__).parents[2] / "controllers" / "rover" / "robot.toml"
SMALL = ControllerConfig(24, 1, 2)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lam") / "tiny"
    torch.manual_seed(0)
    model = LatentActionModel(LAM)
    scrambled(model.inverse_dynamics)
    scrambled(model.world_model)
    model.save(folder)
    return folder


def robot_in(folder: Path, camera: str = '"front_image"') -> Path:
    folder.mkdir(parents=True)
    text = ROBOT.read_text()
    assert 'camera = "front_image"' in text
    (folder / "robot.toml").write_text(text.replace('camera = "front_image"', f"camera = {camera}"))
    return folder


@pytest.mark.parametrize("episodes", [2, 10])
def test_few_episodes_are_enough_and_the_card_says_what_came_of_them(episodes: int, checkpoint: Path, tmp_path: Path) -> None:
    robot = robot_in(tmp_path / "rover")
    log = tiny.log(tmp_path / "log.hdf5", RobotSpec.load(robot), episodes=episodes)
    found = fit([log], robot, checkpoint, budget=Budget(steps=60), run=tmp_path / "run", batch=8, config=SMALL)["front_image"]
    card = (robot / "tiny" / "README.md").read_text()
    assert found.verdict in card and "delta_xy proposed (m)" in card and "the rule: usable:" in card
    assert "delta_xy goal regression (m)" in card and "Training: goal regression" in card
    lam, spec = LatentActionModel.load(checkpoint), RobotSpec.load(robot)
    believed = load_regression(robot, checkpoint, lam, spec).gain.tolist()
    assert all(f"- {name}: {gain:.2f}\n" in card for name, gain in zip(spec.names, believed, strict=True))
    assert all(np.isfinite([row.value, row.ci_low, row.ci_high]).all() for row in found.rows)
    assert "measured on: " + ("the same" if episodes == 2 else "1 others") in card
    plan = Planner.load(checkpoint, robot).plan(*np.zeros((2, 32, 32, 3), np.uint8))
    assert np.isfinite(plan.actions).all()


def test_over_the_folds_every_episode_is_measured_on(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    robot = robot_in(tmp_path / "rover")
    log = tiny.log(tmp_path / "log.hdf5", RobotSpec.load(robot), episodes=5)
    command = ["fit", log, "--robot", robot, "--checkpoint", checkpoint, "--out", tmp_path / "run", "--steps", 3, "--device", "cpu"]
    assert main([*map(str, command), "--folds", "2"]) == 0
    assert "on 5 held-out episodes" in capsys.readouterr().out
    assert "each by one of 2 more controllers" in (robot / "tiny" / "README.md").read_text()
    assert main([*map(str, command), "--folds", "9"]) == 2 and "held out in 9 folds" in capsys.readouterr().err
    with pytest.raises(InputError, match="held out in 0 folds"):
        fit([log], robot, checkpoint, budget=Budget(steps=3), run=tmp_path / "none", folds=0)


def trained(robot: Path) -> list[str]:
    """The steps of each of the two trainings, as the card has them."""
    return re.findall(r"^- (\d+) steps in", (robot / "tiny" / "README.md").read_text(), re.M)


def test_a_run_folder_goes_on_with_its_own_fit_and_refuses_any_other(checkpoint: Path, tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    robot, other_robot = robot_in(tmp_path / "a" / "rover"), robot_in(tmp_path / "b" / "rover")
    spec = RobotSpec.load(robot)
    log = tiny.log(tmp_path / "play.hdf5", spec)
    other_log = tiny.log(tmp_path / "two.hdf5", spec, episodes=5)
    as_large = tmp_path / "again" / "play.hdf5"  # the same number of bytes and episodes, but another drive
    as_large.parent.mkdir()
    as_large.write_bytes(log.read_bytes())
    with h5py.File(as_large, "r+") as file:
        file["data/demo_1/obs/proprio"][...] = file["data/demo_1/obs/proprio"][...] * 0.99
    moved = tmp_path / "elsewhere" / "play.hdf5"
    moved.parent.mkdir()
    moved.write_bytes(log.read_bytes())
    other = LatentActionModel(LAM)
    other.save(tmp_path / "other" / "tiny")
    given = {"robot": robot, "checkpoint": checkpoint, "budget": Budget(steps=2), "run": tmp_path / "run", "batch": 8, "config": SMALL}
    fit([log], **given)
    assert trained(robot) == ["2", "2"]
    fit([moved], **given | {"budget": Budget(steps=4)})
    assert trained(robot) == ["4", "4"]
    fit([log], **given | {"robot": other_robot, "budget": Budget(steps=4)})  # whose robot.toml says the same
    monkeypatch.setattr(fitting, "every_pair", None)  # what follows is refused before the work
    changes: list[tuple[dict[str, object], str]] = [
        ({"seed": 1}, "seed: 0, now 1"), ({"folds": 2}, "folds: 1, now 2"), ({"precision": "bf16"}, "precision: fp32, now bf16"),
        ({"checkpoint": tmp_path / "other" / "tiny"}, "latents: "), ({"batch": 4}, "batch: 8, now 4"),
        ({"config": ControllerConfig(12, 1, 2)}, r"sizes: .*width=24.*width=12")]
    for change, told in changes:
        with pytest.raises(InputError, match=rf"the state in .*run is of another run \({told}[^;]*\): give another --out, or delete"):
            fit([log], **given | change)
    with pytest.raises(InputError, match=r"logs: play\.hdf5 of 4 episodes and \d+ bytes, now two\.hdf5 of 5 .*; states and commands"):
        fit([other_log], **given)
    with pytest.raises(InputError, match=r"\(logs: play\.hdf5 of 4 .*, now play\.hdf5 of 4 episodes and \d+ bytes, two\.hdf5 of 5"):
        fit([log, other_log], **given)
    with pytest.raises(InputError, match=r"\(states and commands: \w+, now \w+\)"):
        fit([as_large], **given)
    (robot / "robot.toml").write_text((robot / "robot.toml").read_text().replace('name = "rover"', 'name = "mine"'))
    with pytest.raises(InputError, match=r"\(robot\.toml: \w+, now \w+\)"):
        fit([log], **given)
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(InputError, match=r"is of another run \(an older one, which was not noted\)"):
        fit([log], **given | {"robot": other_robot})


def test_a_folder_where_nothing_was_trained_yet_is_free(tmp_path: Path) -> None:
    settle(tmp_path / "run", {"seed": "0"})
    settle(tmp_path / "run", {"seed": "1"})
    (tmp_path / "run" / "regression" / "state" / "step-00000003").mkdir(parents=True)
    settle(tmp_path / "run", {"seed": "1"})
    with pytest.raises(InputError, match="seed: 1, now 0"):
        settle(tmp_path / "run", {"seed": "0"})


@pytest.mark.parametrize("episodes", [4, 10])
def test_held_out_episodes_that_hold_too_little_get_no_score(episodes: int, checkpoint: Path, tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    robot = robot_in(tmp_path / "rover")
    log = two_cameras(tmp_path / "log.hdf5", RobotSpec.load(robot), episodes, steps=2)
    fit([log], robot, checkpoint, budget=Budget(steps=3), run=tmp_path / "run", batch=8, config=SMALL)
    told = "".join(capsys.readouterr())
    assert "there is no latent_error and no motion_error, because in the held-out episodes nothing of it varies (1 pair of frames)" in told
    assert "latent_error " not in told.replace("no latent_error and", "")
    assert all(abs(float(number)) < 1e3 for number in re.findall(r"error (-?[\d.]+)", told))
    assert "latent_error" not in (robot / "tiny" / "README.md").read_text()


def test_half_precision_changes_a_fit_by_its_rounding(checkpoint: Path, tmp_path: Path) -> None:
    weights = []
    log = tiny.log(tmp_path / "log.hdf5", RobotSpec.load(ROBOT), episodes=4)
    for precision in ("fp32", "bf16"):
        robot = robot_in(tmp_path / precision / "rover")
        command = ["fit", log, "--robot", robot, "--checkpoint", checkpoint, "--out", tmp_path / precision / "run", "--steps", 3]
        assert main([*map(str, command), "--device", "cpu", "--precision", precision]) == 0
        weights.append({name: load_file(robot / "tiny" / f"{name}.safetensors") for name in ("model", "regression")})
    for name, exact in weights[0].items():
        moved = {key: (weights[1][name][key] - value).abs().max().item() for key, value in exact.items() if value.is_floating_point()}
        assert 0 < max(moved.values()) < 0.05, name


def two_cameras(path: Path, spec: RobotSpec, episodes: int, steps: int = 8) -> Path:
    rng = np.random.default_rng(1)
    with LogWriter(path, robot=spec, env_name="square") as writer:
        for _ in range(episodes):
            frames, states = tiny.drive(rng, steps)
            actions = np.concatenate([spec.differences(states), np.zeros((1, 3))])
            writer.write_episode({"front_image": frames, "side_image": frames[:, :, ::-1]}, states, spec.clip(actions))
    return path


def test_every_camera_gets_a_controller_of_its_own(checkpoint: Path, tmp_path: Path) -> None:
    robot = robot_in(tmp_path / "rover", '["front_image", "side_image"]')
    log = two_cameras(tmp_path / "log.hdf5", RobotSpec.load(robot), 4)
    found = fit([log], robot, checkpoint, budget=Budget(steps=2), run=tmp_path / "run", batch=8, config=SMALL)
    assert list(found) == ["front_image", "side_image"]
    front, side = robot / "tiny", robot / "tiny" / "side_image"
    spec, lam = RobotSpec.load(robot, "side_image"), LatentActionModel.load(checkpoint)
    assert load_regression(robot, checkpoint, lam, spec).spread.isfinite().all() and (side / "regression.safetensors").exists()
    with pytest.raises(CheckpointError, match=r"goal regression in .* was fitted to another encoder"):
        load_regression(robot, checkpoint, LatentActionModel(LAM), spec)
    assert fingerprint(front) != fingerprint(side) and "camera: side_image" in (side / "README.md").read_text()
    picture = np.zeros((32, 32, 3), np.uint8)
    plans = [Planner.load(checkpoint, robot, camera=camera).plan({"front_image": picture, "side_image": picture + 90}, picture)
             for camera in (None, "front_image", "side_image")]
    assert np.array_equal(plans[0].actions, plans[1].actions)
    assert np.array_equal(plans[0].predicted, plans[1].predicted) and not np.array_equal(plans[0].predicted, plans[2].predicted)
    assert LatentPlanner.load(checkpoint, robot, camera="side_image").robot.camera == "side_image"
    with pytest.raises(InputError, match=r"no camera 'roof_image'; .* names front_image, side_image"):
        Planner.load(checkpoint, robot, camera="roof_image")
    turned = robot_in(tmp_path / "turned", '["side_image", "front_image"]')
    front.rename(turned / "tiny")
    with pytest.raises(CheckpointError, match="fitted to the camera 'front_image', not 'side_image'"):
        Planner.load(checkpoint, turned)


def slowly(log: Path, robot: Path, checkpoint: Path, run: Path, pause: float) -> None:
    torch.set_num_threads(1)
    run.mkdir(exist_ok=True)
    sys.stdout = sys.stderr = (run / "said").open("w")
    assert loop.train.__kwdefaults__ is not None
    loop.train.__kwdefaults__["save_seconds"] = 0.0
    fitting.VALIDATE_EVERY, fitting.PATIENCE = 2, 3
    scores = fitting.scores

    def slow(*given):  # type: ignore[no-untyped-def]
        time.sleep(pause)
        return scores(*given)

    fitting.scores = slow
    fit([log], robot, checkpoint, budget=Budget(steps=16), run=run, batch=8, config=SMALL)


def test_a_killed_fit_ends_as_if_it_had_never_been(checkpoint: Path, tmp_path: Path) -> None:
    log = tiny.log(tmp_path / "log.hdf5", RobotSpec.load(ROBOT), episodes=10)
    weights: list[tuple[str, bytes]] = []
    cards = []
    for name, kill in (("whole", False), ("killed", True)):
        robot, run = robot_in(tmp_path / name / "rover"), tmp_path / name / "run"
        if kill:
            process = cluster.begin(slowly, log, robot, checkpoint, run, 0.3)
            while not list((run / "state").glob("step-0000000[5-9]")) and process.is_alive():
                time.sleep(0.01)
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL, (run / "said").read_text()[-2000:]
            assert not (robot / "tiny").exists()
        process = cluster.begin(slowly, log, robot, checkpoint, run, 0.0)
        process.join()
        assert process.exitcode == 0, (run / "said").read_text()[-2000:]
        weights.append((fingerprint(robot / "tiny"), (robot / "tiny" / "regression.safetensors").read_bytes()))
        cards.append(re.sub(r" in [\d.]+ minutes", "", (robot / "tiny" / "README.md").read_text()))
    assert weights[0] == weights[1] and cards[0] == cards[1]


def test_a_controller_of_commanded_actions_is_fitted_to_them_and_serves_no_others(checkpoint: Path, tmp_path: Path,
                                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    robot = robot_in(tmp_path / "rover")
    text = (robot / "robot.toml").read_text()
    log = tmp_path / "log.hdf5"
    rng = np.random.default_rng(1)
    with LogWriter(log, robot=(spec := RobotSpec.load(robot)), env_name="square") as writer:
        for _ in range(4):
            frames, states = tiny.drive(rng, 8)
            # A robot that does less than it is told.
            commands = np.concatenate([spec.differences(states), np.zeros((1, 3))]) + [0.05, 0.0, 0.1]
            writer.write_episode({"front_image": frames}, states, spec.clip(commands))
    means = {}
    for source in ("measured", "commanded"):
        (robot / "robot.toml").write_text(text.replace("[action]", f'[action]\nsource = "{source}"'))
        fit([log], robot, checkpoint, budget=Budget(steps=2), run=tmp_path / source, batch=8, config=SMALL)
        means[source] = Planner.load(checkpoint, robot).dynamics.controller.action_mean.numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(means["commanded"] - means["measured"], [0.05, 0.0, 0.1], atol=0.01)
    (robot / "robot.toml").write_text(text)
    with pytest.raises(CheckpointError, match=r"actions of source 'commanded', but robot\.toml says 'measured'"):
        Planner.load(checkpoint, robot)
    config = json.loads((robot / "tiny" / "config.json").read_text())
    older = {key: value for key, value in config.items() if key not in ("source", "frame")}
    (robot / "tiny" / "config.json").write_text(json.dumps(older))
    assert Planner.load(checkpoint, robot, search="realtime", proposals="latent").robot.source == "measured"
    with pytest.raises(CheckpointError, match=r"the goal regression in .* was fitted to actions of source 'commanded'"):
        Planner.load(checkpoint, robot)
    (robot / "robot.toml").write_text(text.replace("rate_hz = 4.0", "rate_hz = 2.0").replace("[action]", '[action]\nsource = "commanded"'))
    assert main(["fit", str(log), "--robot", str(robot), "--checkpoint", str(checkpoint), "--steps", "1", "--device", "cpu"]) == 2
    assert "at 4 Hz, but rover acts at 2 Hz; a robot does less than the sum of the commands" in capsys.readouterr().err
