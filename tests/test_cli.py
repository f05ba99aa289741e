"""The command line: what was at fault is told in one sentence on stderr, with exit status 2, and nothing half-written is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamplan import LatentActionModel, Planner, RobotSpec, checkup
from lamplan.cli import main
from lamplan.files import try_folder
from lamplan.train import controller
from lamplan.train import pretrain as pretraining
from tests import tiny
from tests.benchmarks.untrained import checkpoint_and_robot, in_camera_frame
from tests.models.test_networks import LAM


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    LatentActionModel(LAM).save(tmp_path / "ckpt")
    return tmp_path / "ckpt"


def fails(capsys: pytest.CaptureFixture[str], arguments: list[object], *says: str) -> None:
    assert main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith(f"lamplan {arguments[0]}: ")
    for words in says:
        assert words in message, message


def test_folder_without_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no video here")
    fails(capsys, ["pretrain", "--data", tmp_path / "empty", "--out", tmp_path / "out"], "holds no video", "empty")
    fails(capsys, ["pretrain", "--data", tmp_path / "nowhere", "--out", tmp_path / "out"], "nowhere")
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"\x00\x00\x00\x20ftypisom" + b"\xff" * 200])
def test_broken_video(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(content)
    fails(capsys, ["pretrain", "--data", tmp_path / "videos", "--out", tmp_path / "out"], "a.mp4")
    assert not (tmp_path / "out" / "config.json").exists()


def test_unknown_recipe_and_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = tiny.videos(tmp_path / "videos", count=1)
    fails(capsys, ["pretrain", "huge", "--data", videos, "--out", tmp_path / "out"], "no recipe 'huge'")
    fails(capsys, ["pretrain", "--data", videos, "--share", "1.5", "--out", tmp_path / "out"], "share")


@pytest.mark.parametrize("option", ["--steps 0", "--steps -3", "--steps 1.5", "--minutes 0", "--minutes nan", "--minutes inf", "--folds 0",
                                    "--folds -1", "--threads 0", "--threads -1", "--seed -1", "--seed 4294967296"])
def test_a_number_that_means_nothing_to_a_fit(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, ["fit", "log.hdf5", "--robot", "controllers/rover", *option.split()])


@pytest.mark.parametrize("arguments", ["pretrain --data videos --out out --workers -1", "pretrain --data videos --out out --workers 0",
                                       "pretrain --data videos --out out --steps 0", "shard videos --out out --workers 0",
                                       "plan a.png b.png --robot controllers/rover --deadline -1",
                                       "plan a.png b.png --robot controllers/rover --deadline 0",
                                       "plan a.png b.png --robot controllers/rover --deadline nan",
                                       "plan a.png b.png --robot controllers/rover --seed -1"])
def test_a_number_that_means_nothing_elsewhere(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, arguments.split())


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """By argparse, whose usage stands above the one line that names the option and its value."""
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"lamplan {arguments[0]}: error: argument {arguments[-2]}: '{arguments[-1]}' is no ") and "number" in told


@pytest.mark.parametrize("command", ["pretrain", "fit"])
@pytest.mark.parametrize("device", ["abacus", "meta", "xpu", "hpu"])  # none of which any machine that runs this test has
def test_a_device_that_is_not_there(device: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tiny.videos(tmp_path / "videos", count=1)
    given = ["--data", data] if command == "pretrain" else [tmp_path / "log.hdf5", "--robot", "controllers/rover"]
    arguments = [command, *given, "--out", tmp_path / "out", "--device", device]
    fails(capsys, arguments, f"no device '{device}' that holds a tensor", "such as 'cpu'")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "robot").mkdir()
    home = checkpoint_and_robot(tmp_path / "robot", "rover", str)
    log = tiny.log(tmp_path / "log.hdf5", RobotSpec.load(home))
    Image.new("RGB", (32, 32)).save(picture := tmp_path / "now.png")
    robot = ["--robot", home, "--checkpoint", tmp_path / "robot" / "checkpoint"]
    videos = tiny.videos(tmp_path / "videos", count=1)

    def work(*_: object, **__: object) -> None:
        raise AssertionError("this was to be told before the work")

    monkeypatch.setattr(controller, "every_pair", work)
    monkeypatch.setattr(pretraining, "frame_store", work)
    for name in ("examine", "new_robot"):
        monkeypatch.setattr(checkup, name, work)
    monkeypatch.setattr(Planner, "plan", work)
    for bad in (picture, picture / "x", "/proc/x"):
        for command in (["fit", log, *robot, "--steps", 1, "--device", "cpu", "--out", bad],
                        ["pretrain", "--data", videos, "--steps", 1, "--out", bad],
                        ["decoder", tmp_path / "robot" / "checkpoint", "--data", videos, "--steps", 1, "--out", bad],
                        ["shard", videos, "--out", bad],
                        ["check", log, "--out", bad], ["robot", "new", "mine", "--from", log, "--out", bad],
                        ["plan", picture, picture, *robot, "--plot", f"{bad}/p.png"]):
            fails(capsys, command, str(bad), "cannot be read or written (", "give another path")
    try_folder(tmp_path / "some" / "where")
    assert not (tmp_path / "some").exists()


def test_ctrl_c_ends_a_command_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkup, "examine", stopped)
    assert main(["check", "log.hdf5", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "lamplan check: stopped by Ctrl-C.\n"


def test_the_real_time_mode_has_no_proposals_to_choose(capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, ["plan", "a.png", "b.png", "--robot", "controllers/rover", "--search", "realtime", "--proposals", "latent"],
          "--proposals latent means nothing with --search realtime", "leave it out")


def test_damaged_checkpoints(tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(picture)
    plan = ["plan", picture, picture, "--robot", "controllers/rover", "--checkpoint", checkpoint]
    whole = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    fails(capsys, plan, "truncated", "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    fails(capsys, plan, "incomplete")
    config = (checkpoint / "config.json").read_text()
    (checkpoint / "config.json").write_text(config.replace('"format": 1', '"format": 99'))
    fails(capsys, plan, "format 99")
    (checkpoint / "config.json").write_text(config.replace('"dim": 8', '"dim": 16'))
    (checkpoint / "model.safetensors").write_bytes(whole)
    fails(capsys, plan, "has shape", "expected")
    (checkpoint / "config.json").write_text("{")
    fails(capsys, plan, "not valid JSON")
    (checkpoint / "config.json").unlink()
    fails(capsys, plan, "no config.json")


def test_a_plan_in_the_cameras_frame_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32)).save(picture := tmp_path / "now.png")
    for name, change in (("camera", in_camera_frame), ("base", str)):
        (tmp_path / name).mkdir()
        home = checkpoint_and_robot(tmp_path / name, "panda", change)
        assert main(["plan", *[str(picture)] * 2, "--robot", str(home), "--checkpoint", str(tmp_path / name / "checkpoint"),
                     "--samples", "4", "--iterations", "1"]) == 0
        assert ("in the frame of exterior_image" in capsys.readouterr().out) == (name == "camera")


def test_missing_robot_image_and_log(tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, ["plan", "a.png", "b.png", "--robot", "atlas", "--checkpoint", checkpoint], "no robot 'atlas'")
    fails(capsys, ["plan", "a.png", "b.png", "--robot", "controllers/rover", "--search", "fastest"], "no search named 'fastest'", "paper")
    fails(capsys, ["fit", tmp_path / "none.hdf5", "--robot", "controllers/rover", "--checkpoint", checkpoint], "none.hdf5")
    (tmp_path / "bad.png").write_text("not a picture")
    robot = tmp_path / "robot"
    robot.mkdir()
    (robot / "robot.toml").write_text("name = 3")
    fails(capsys, ["fit", tmp_path / "none.hdf5", "--robot", robot, "--checkpoint", checkpoint], "robot.toml")
