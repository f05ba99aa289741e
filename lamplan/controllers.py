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
OLDER = {"source": {"arm": "measured", "mobile": "measured"}, "frame": {"arm": "base", "mobile": "robot"}}


def new_controller(config: ControllerConfig, lam: LatentActionModel, spec: RobotSpec) -> Controller:
    """An untrained controller of a robot for a latent action model."""
    return Controller(config, lam.config.encoder.width, lam.config.encoder.side, spec.action_dim, lam.config.latent_dim)


def controller_folder(robot: str | Path, checkpoint: str | Path, spec: RobotSpec) -> Path:
    """The robot's first camera has the checkpoint's own folder, every other one a folder inside it."""
    folder = Path(robot) / Path(checkpoint).resolve().name
    return folder if spec.camera == spec.cameras[0] else folder / spec.camera


def save_controller(controller: Controller, config: ControllerConfig, robot: str | Path, checkpoint: str | Path, spec: RobotSpec) -> Path:
    """Writes the controller beside its robot's description and returns its folder."""
    folder = controller_folder(robot, checkpoint, spec)
    save_folder(folder, KIND, {"controller": asdict(config), "checkpoint": fingerprint(checkpoint), "camera": spec.camera,
                               "source": spec.source, "frame": spec.frame}, controller)
    return folder


def load_controller(robot: str | Path, checkpoint: str | Path, lam: LatentActionModel, spec: RobotSpec) -> Controller:
    """The controller of the robot's camera for this checkpoint, frozen; refused if it was fitted to other weights, another camera or
    actions of another meaning."""
    folder = controller_folder(robot, checkpoint, spec)
    again = f"`lamplan fit LOG... --robot {robot} --checkpoint {checkpoint}`"
    if not folder.is_dir():
        raise CheckpointError(f"{spec.name} has no controller for the checkpoint '{Path(checkpoint).resolve().name}' and the camera "
                              f"'{spec.camera}' (looked in {folder}): fit one with {again}.")
    fields = read_config(folder, KIND)
    config = build(ControllerConfig, fields.get("controller"), folder)
    if fields.get("checkpoint") != fingerprint(checkpoint):
        raise CheckpointError(f"the controller in {folder} was fitted to other weights than those in {checkpoint}: fit it again with "
                              f"{again}.")
    if fields.get("camera", spec.camera) != spec.camera:  # older ones do not name theirs
        raise CheckpointError(f"the controller in {folder} was fitted to the camera '{fields['camera']}', not '{spec.camera}': put the "
                              f"cameras in robot.toml in their old order, or fit it again with {again}.")
    for key, now in (("source", spec.source), ("frame", spec.frame)):
        # Older ones do not name theirs, which are measured and in the frame of the robot itself.
        if (then := fields.get(key, OLDER[key][spec.kind])) != now:
            raise CheckpointError(f"the controller in {folder} was fitted to actions of {key} '{then}', but robot.toml says '{now}': set "
                                  f"that back, or fit it again with {again}.")
    controller = new_controller(config, lam, spec)
    load_weights(folder, controller)
    return controller.eval().requires_grad_(False)
