"""What was fitted to a robot is found however the robot is given, and refused where its actions mean something else now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lamplan import CheckpointError, Planner, RobotSpec
from lamplan.controllers import controller_folder
from tests.benchmarks.untrained import checkpoint_and_robot

FITTED = ("config.json", "regression.json")


def test_a_robot_may_be_given_by_its_folder_its_description_or_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "controllers").mkdir()
    home = checkpoint_and_robot(tmp_path / "controllers", "rover")
    monkeypatch.chdir(tmp_path)
    checkpoint = tmp_path / "controllers" / "checkpoint"
    for given in (home, home / "robot.toml", "rover"):
        assert controller_folder(given, checkpoint, RobotSpec.load(given)).samefile(home / "checkpoint")
        assert Planner.load(checkpoint, given).robot.name == "rover"


def test_what_was_fitted_at_another_rate_is_refused(tmp_path: Path) -> None:
    home, checkpoint = checkpoint_and_robot(tmp_path, "rover"), tmp_path / "checkpoint"
    description = (home / "robot.toml").read_text()
    (home / "robot.toml").write_text(description.replace("rate_hz = 4.0", "rate_hz = 2.0"))
    for name in FITTED:  # the controller's refusal first, then the regression's, then none: older ones do not name their rate
        with pytest.raises(CheckpointError, match=r"was fitted to actions of rate_hz 4\.0, but robot\.toml says 2\.0: set"):
            Planner.load(checkpoint, home)
        path = home / "checkpoint" / name
        fields = json.loads(path.read_text())
        assert fields.pop("rate_hz") == 4.0
        path.write_text(json.dumps(fields))
    assert Planner.load(checkpoint, home).robot.rate_hz == 2.0


@pytest.mark.parametrize("robot", ["panda", "rover", "widowx"])
def test_the_shipped_ones_name_the_rate_of_their_robot(root: Path, robot: str) -> None:
    folder = root / "controllers" / robot
    for name in FITTED:
        assert json.loads((folder / "wild-small" / name).read_text())["rate_hz"] == RobotSpec.load(folder).rate_hz
