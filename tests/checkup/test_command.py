"""`lamplan check` and `lamplan robot new` from the command line, on files of every format and on real ones."""

import re
from html import unescape

import h5py
import numpy as np
import pytest
from PIL import Image

from lamplan.checkup import examine
from lamplan.checkup.cameras import FRAMES_LOOKED_AT, looks
from lamplan.checkup.page import draw, thumbnails, write_checkup
from lamplan.cli import main
from lamplan.logs import LogWriter
from lamplan.robot import RobotSpec
from tests import tiny
from tests.benchmarks.untrained import checkpoint_and_robot
from tests.checkup.worlds import checked, each, log
from tests.logs import synthetic
from tests.logs.helpers import spec
from tests.logs.made_lerobot import write_lerobot2, write_lerobot3
from tests.logs.made_rlds import write_rlds


@pytest.fixture
def recorded(tmp_path):
    """A clean log in robomimic's layout."""
    with LogWriter(tmp_path / "log.hdf5", spec(), "lamplan/Tabletop-v0") as writer:
        for one in log(episodes=4, steps=12, rate_hz=4.0):
            writer.write_episode({camera: one.frames(camera) for camera in one.cameras}, one.states, one.actions)
    return tmp_path / "log.hdf5"


def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def test_a_clean_log_passes(recorded, tmp_path, capsys):
    assert run("check", recorded, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "trouble: 0, notes: 1;" in said and "robomimic HDF5" in said and "4, 48 steps" in said and "TROUBLE" not in said
    page = (tmp_path / "out" / "check.html").read_text()
    assert page.count("data:image/png;base64,") == 5 and "Trouble: 0" in page and "http" not in page
    assert 'name = "my_robot"' in unescape(page) and "[workspace]" in page
    assert not list((tmp_path / "out").rglob("*.part*"))


def test_a_new_robot_passes_the_check_of_its_log(recorded, tmp_path, capsys):
    assert run("robot", "new", "mine", "--from", recorded, "--out", tmp_path / "mine", "--camera", "wrist_image") == 0
    assert RobotSpec.load(tmp_path / "mine").camera == "wrist_image"
    assert run("check", recorded, "--robot", tmp_path / "mine", "--out", tmp_path / "out") == 0
    assert run("robot", "new", "mine", "--from", recorded, "--out", tmp_path / "mine") == 2
    assert "mine/robot.toml exists; choose another name" in capsys.readouterr().err


def test_a_new_robot_goes_under_controllers(recorded, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("robot", "new", "mine", "--from", recorded, "--rate", "2") == 0
    assert RobotSpec.load("controllers/mine").rate_hz == 2.0
    assert run("check", recorded, "--robot", "mine") == 0 and (tmp_path / "runs/check-log/check.html").exists()
    for name in ("../mine", "a/b", ".."):
        assert run("robot", "new", name, "--from", recorded) == 2
    assert "is no name for a folder" in capsys.readouterr().err


def test_trouble_has_status_1(recorded, tmp_path, capsys):
    with h5py.File(recorded, "r+") as file:
        file["data/demo_2/obs/wrist_image"][3:7] = 0
        del file["data/demo_1/actions"]
    assert run("check", recorded, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert re.search(r"TROUBLE \[dark\] .*demo_2, camera wrist_image, step 3: 4 of 12 frames are black", said)
    assert re.search(r"TROUBLE \[unreadable\] .*demo_1 has no 'actions'", said) and "trouble: 2" in said
    assert run("robot", "new", "mine", "--from", recorded, "--out", tmp_path / "mine") == 0
    assert "the log has trouble (2)" in capsys.readouterr().err


def test_what_cannot_be_read_has_status_2(recorded, tmp_path, capsys):
    assert run("check", tmp_path / "absent.hdf5", "--out", tmp_path / "out") == 2
    (tmp_path / "text.hdf5").write_text("no HDF5")
    assert run("check", tmp_path / "text.hdf5", tmp_path / "absent.hdf5", "--out", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists() and capsys.readouterr().err.count("lamplan check: ") == 3
    assert run("check", recorded, tmp_path / "absent.hdf5", "--out", tmp_path / "out") == 1
    assert "logs that cannot be read: 1" in capsys.readouterr().out
    assert run("check", recorded, "--robot", "atlas") == 2


@pytest.mark.parametrize(("write", "form"), [
    (lambda path: synthetic.droid(path / "one").parent, "raw DROID"), (lambda path: synthetic.franka(path / "one").parent, "Franka set"),
    (lambda path: synthetic.recon(path / "one.hdf5"), "RECON"), (lambda path: synthetic.start_goal(path / "pair.npz"), "start and goal"),
    (lambda path: synthetic.recon_pictures(path / "one").parent, "RECON as pictures"), (write_lerobot2, "LeRobot"),
    (write_lerobot3, "LeRobot"), (write_rlds, "RLDS"),
], ids=["droid", "franka", "recon", "start_goal", "recon_pictures", "lerobot2", "lerobot3", "rlds"])
def test_every_format_is_checked(tmp_path, write, form):
    path = tmp_path / "log"
    path.mkdir()
    found = examine(write(path))
    assert found.facts["format"].startswith(form) and found.cameras and all(camera.frames for camera in found.cameras.values())
    assert not {"unreadable", "camera", "dark", "NaN", "clock"} & {finding.topic for finding in found.troubles}, found.troubles
    if form == "raw DROID":
        assert "15 Hz by the clock" in found.facts["rate"] and any("claim 60 Hz" in str(note) for note in found.notes)


def test_large_logs_are_sampled():
    few = looks([10] * 7)
    assert [run.tolist() for _, runs in few for run in runs] == [list(range(10))] * 7
    many = looks([3, 40_000, 500] * 1_000)
    seen = [(number, step) for number, runs in many for run in runs for step in run]
    assert len(seen) == len(set(seen)) <= FRAMES_LOOKED_AT and {number % 3 for number, _ in many} == {0, 1, 2}
    ((_, runs),) = looks([1_000_000])
    assert runs[0][0] == 0 and runs[-1][-1] == 999_999 and sum(map(len, runs)) == FRAMES_LOOKED_AT


def test_a_page_escapes_what_it_shows_and_plots_any_width(tmp_path):
    evil = each(log(episodes=2), lambda one: {"source": "<script>alert(1)</script>", "states": np.tile(one.states, 2), "actions": None,
                                              "cameras": ("../../wrist<b>",), "stated_hz": 10.0})
    page = write_checkup([checked(evil)], tmp_path / "out", "lamplan check '<x>'").read_text()
    assert "<script>" not in page and "<b>" not in page and "&lt;script&gt;" in page and "states of 14 numbers" in page
    assert {path.parent for path in tmp_path.rglob("*.png")} == {tmp_path / "out/plots/0"}


def test_plots_and_thumbnails_are_drawn(tmp_path):
    found = checked(log("mobile"))
    shown = [Image.open(path).size for path in [*thumbnails(found, tmp_path), *draw(found, tmp_path, None)]]
    assert len(shown) == 5 and all(width > 300 and height > 150 for width, height in shown)


def test_a_real_widowx(shared_data, tmp_path):
    found = examine(shared_data / "bridge_rlds")
    assert [str(finding).partition("/")[0] + finding.topic for finding in found.troubles] == ["dark"], found.troubles
    assert "camera image_3 is black in all 250 frames" in str(found.troubles[0])
    assert found.facts["episodes"].startswith("25, 250 steps, 50.0 s") and "0 seems to be open" in found.facts["gripper"]
    assert found.facts["Euler convention"].startswith("Euler xyz about fixed axes, base frame") and "lag +0" in found.facts["commands"]
    assert run("robot", "new", "widowx", "--from", shared_data / "bridge_rlds", "--out", tmp_path / "widowx") == 0
    assert RobotSpec.load(tmp_path / "widowx").camera == "image_0"
    assert run("check", shared_data / "bridge_rlds", "--robot", tmp_path / "widowx", "--out", tmp_path / "out") == 0


def test_a_real_franka_pair(shared_data):
    found = examine(shared_data / "franka" / "franka_example_traj.npz")
    assert not found.troubles and found.facts["commands"] == "none recorded" and found.facts["lengths"].startswith("metres")


@pytest.mark.parametrize("task", ["lift", "stack"])
def test_real_demonstrations_without_images(shared_data, tmp_path, capsys, task):
    assert run("check", shared_data / "robosuite_demos" / task / "demo.hdf5", "--out", tmp_path) == 2
    assert "has no images" in capsys.readouterr().err


def test_with_a_model_the_energy_is_checked_too(tmp_path, capsys):
    home = checkpoint_and_robot(tmp_path, "rover")
    recorded = tiny.log(tmp_path / "log.hdf5", RobotSpec.load(home), episodes=12)
    assert run("check", recorded, "--robot", home, "--model", tmp_path / "checkpoint", "--out", tmp_path / "out") == 1
    said = capsys.readouterr().out
    # The model is untrained: whatever its cost prefers, that is not the true action.
    assert "energy of rover" in said and "the planner's cost is no guide" in said
    assert (tmp_path / "out/energy/0/energy.png").exists() and "energy" in (tmp_path / "out/check.html").read_text()
    assert run("check", recorded, "--model", tmp_path / "checkpoint") == 2
    assert "--model needs --robot" in capsys.readouterr().err
