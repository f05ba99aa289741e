"""A tiny checkpoint that has learned nothing, with controllers and goal regressions to go with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from lamplan.controllers import new_controller, new_regression, save_controller, save_regression
from lamplan.lam import LAMConfig, LatentActionModel
from lamplan.latents import NoisyConfig
from lamplan.models.controller import ControllerConfig
from lamplan.models.encoder import EncoderConfig
from lamplan.models.inverse_dynamics import InverseDynamicsConfig
from lamplan.models.world_model import WorldModelConfig
from lamplan.robot import RobotSpec
from tests.benchmarks.fakes import ROOT


def in_camera_frame(description: str) -> str:
    """The Panda's robot.toml for actions in the frame of its camera: without the workspace, which stands last."""
    return description.partition("# Metres in the base frame")[0].replace('frame = "base"', 'frame = "camera"')


def checkpoint_and_robot(folder: Path, robot: str, change: Callable[[str], str] = lambda description: description) -> Path:
    """Writes `folder/checkpoint` (32 px images) and returns the folder of the robot with a controller for it; `change` is made to its
    robot.toml before."""
    torch.manual_seed(0)
    lam = LatentActionModel(LAMConfig(bottleneck=NoisyConfig(dim=8), encoder=EncoderConfig(32, 8, 24, 1, 2),
                                      inverse_dynamics=InverseDynamicsConfig(24, 1, 2), world_model=WorldModelConfig(24, 1, 2, 16)))
    lam.save(folder / "checkpoint")
    home = folder / robot
    home.mkdir()
    (home / "robot.toml").write_text(change((ROOT / "controllers" / robot / "robot.toml").read_text()))
    config = ControllerConfig(24, 1, 2)
    spec = RobotSpec.load(home)
    where = save_controller(new_controller(config, lam, spec), config, home, folder / "checkpoint", lam, spec)
    save_regression(new_regression(lam, spec), lam, where, spec)
    return home
