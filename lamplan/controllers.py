"""Controllers on disk: `controllers/ROBOT/CHECKPOINT/`, each bound to the latent action model that it was fitted to."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lamplan.errors import CheckpointError
from lamplan.lam import LatentActionModel
from lamplan.models.controller import Controller, ControllerConfig
from lamplan.robot import RobotSpec
from lamplan.weights import build, fingerprint, load_weights, read_config, save_folder

KIND = "controller"


def new_controller(config: ControllerConfig, lam: LatentActionModel, spec: RobotSpec) -> Controller:
    """An untrained controller of a robot for a latent action model."""
    return Controller(config, lam.config.encoder.width, lam.config.encoder.side, spec.action_dim, lam.config.latent_dim)


def controller_folder(robot: str | Path, checkpoint: str | Path) -> Path:
    return Path(robot) / Path(checkpoint).resolve().name


def save_controller(controller: Controller, config: ControllerConfig, robot: str | Path, checkpoint: str | Path) -> Path:
    """Writes the controller beside its robot's description and returns its folder."""
    folder = controller_folder(robot, checkpoint)
    save_folder(folder, KIND, {"controller": asdict(config), "checkpoint": fingerprint(checkpoint)}, controller)
    return folder


def load_controller(robot: str | Path, checkpoint: str | Path, lam: LatentActionModel, spec: RobotSpec) -> Controller:
    """The robot's controller for this checkpoint, frozen; refused if it was fitted to other weights."""
    folder = controller_folder(robot, checkpoint)
    if not folder.is_dir():
        raise CheckpointError(f"{spec.name} has no controller for the checkpoint '{folder.name}' (looked in {folder}): fit one with "
                              f"`lamplan fit LOG... --robot {robot} --checkpoint {checkpoint}`.")
    fields = read_config(folder, KIND)
    config = build(ControllerConfig, fields.get("controller"), folder)
    if fields.get("checkpoint") != fingerprint(checkpoint):
        raise CheckpointError(f"the controller in {folder} was fitted to other weights than those in {checkpoint}: fit it again with "
                              f"`lamplan fit LOG... --robot {robot} --checkpoint {checkpoint}`.")
    controller = new_controller(config, lam, spec)
    load_weights(folder, controller)
    return controller.eval().requires_grad_(False)
