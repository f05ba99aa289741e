"""What was fitted to a robot's logs, on disk: `controllers/ROBOT/CHECKPOINT/` holds its controller, bound to the latents that it was
fitted to, and its goal regression, bound to the encoder that it reads."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lamplan.errors import CheckpointError
from lamplan.lam import LatentActionModel
from lamplan.models.controller import Controller, ControllerConfig
from lamplan.models.goal_regression import GoalRegression
from lamplan.models.inverse_dynamics import InverseDynamicsConfig
from lamplan.robot import RobotSpec, robot_file
from lamplan.weights import Files, build, fingerprint, load_weights, module_fingerprint, read_config, save_folder

KIND, REGRESSION = "controller", "goal regression"
REGRESSION_FILES = Files("regression.json", "regression.safetensors")
OLDER = {"source": {"arm": "measured", "mobile": "measured"}, "frame": {"arm": "base", "mobile": "robot"}}


def new_controller(config: ControllerConfig, lam: LatentActionModel, spec: RobotSpec) -> Controller:
    """An untrained controller of a robot for a latent action model."""
    return Controller(config, lam.config.encoder.width, lam.config.encoder.side, spec.action_dim, lam.config.latent_dim)


def new_regression(lam: LatentActionModel, spec: RobotSpec) -> GoalRegression:
    """A goal regression of a robot that begins as the inverse dynamics model of a latent action model."""
    regression = untaught_regression(lam.config.inverse_dynamics, lam, spec)
    regression.begin_as(lam.inverse_dynamics)
    return regression


def untaught_regression(config: InverseDynamicsConfig, lam: LatentActionModel, spec: RobotSpec) -> GoalRegression:
    """A goal regression of a size that knows nothing yet, on the features of a latent action model's encoder."""
    return GoalRegression(config, lam.config.encoder.width, lam.config.encoder.side, spec.action_dim)


def controller_folder(robot: str | Path, checkpoint: str | Path, spec: RobotSpec) -> Path:
    """The robot's first camera has the checkpoint's own folder, beside its robot.toml, every other one a folder inside that."""
    folder = robot_file(robot).parent / Path(checkpoint).resolve().name
    return folder if spec.camera == spec.cameras[0] else folder / spec.camera


def latents_fingerprint(lam: LatentActionModel) -> str:
    """Short hash of all that makes a latent action: a world model that is trained anew on the same latents keeps their controllers."""
    return module_fingerprint(lam.encoder, lam.inverse_dynamics, lam.bottleneck)


def save_controller(controller: Controller, config: ControllerConfig, robot: str | Path, checkpoint: str | Path, lam: LatentActionModel,
                    spec: RobotSpec) -> Path:
    """Writes the controller beside its robot's description and returns its folder."""
    folder = controller_folder(robot, checkpoint, spec)
    save_folder(folder, KIND, {"controller": asdict(config), "latents": latents_fingerprint(lam)} | _meaning(spec), controller)
    return folder


def load_controller(robot: str | Path, checkpoint: str | Path, lam: LatentActionModel, spec: RobotSpec) -> Controller:
    """The controller of the robot's camera for this checkpoint, frozen; refused if it was fitted to other latents, another camera or
    actions of another meaning."""
    folder = controller_folder(robot, checkpoint, spec)
    again = fit_again(robot, checkpoint)
    if not folder.is_dir():
        raise CheckpointError(f"{spec.name} has no controller for the checkpoint '{Path(checkpoint).resolve().name}' and the camera "
                              f"'{spec.camera}' (looked in {folder}): fit one with {again}.")
    fields = read_config(folder, KIND)
    config = build(ControllerConfig, fields.get("controller"), folder)
    # Older ones name the whole model, its world model included.
    if fields.get("latents") != latents_fingerprint(lam) and fields.get("checkpoint") != fingerprint(checkpoint):
        raise CheckpointError(f"the controller in {folder} was fitted to other latents than those of {checkpoint}: fit it again with "
                              f"{again}.")
    _check_meaning(fields, spec, f"the controller in {folder}", again)
    controller = new_controller(config, lam, spec)
    load_weights(folder, controller, later=["gain"])  # older ones believe all that they read back
    return controller.eval().requires_grad_(False)


def save_regression(regression: GoalRegression, lam: LatentActionModel, folder: Path, spec: RobotSpec) -> None:
    """Writes a robot's goal regression into its controller's folder."""
    fields = {"regression": asdict(lam.config.inverse_dynamics), "encoder": module_fingerprint(lam.encoder)} | _meaning(spec)
    save_folder(folder, REGRESSION, fields, regression, REGRESSION_FILES)


def load_regression(robot: str | Path, checkpoint: str | Path, lam: LatentActionModel, spec: RobotSpec) -> GoalRegression:
    """The goal regression of the robot's camera, frozen; refused if it was fitted to the features of another encoder, another camera or
    actions of another meaning."""
    folder, again = controller_folder(robot, checkpoint, spec), fit_again(robot, checkpoint)
    if not has_regression(robot, checkpoint, spec):
        raise CheckpointError(f"{spec.name} has no goal regression for the checkpoint '{Path(checkpoint).resolve().name}' and the camera "
                              f"'{spec.camera}' (looked for {REGRESSION_FILES.config} in {folder}): fit one with {again}, or plan without.")
    fields = read_config(folder, REGRESSION, REGRESSION_FILES)
    config = build(InverseDynamicsConfig, fields.get("regression"), folder / REGRESSION_FILES.config)
    if fields.get("encoder") != module_fingerprint(lam.encoder):
        raise CheckpointError(f"the goal regression in {folder} was fitted to another encoder than that of {checkpoint}: fit it again with "
                              f"{again}.")
    _check_meaning(fields, spec, f"the goal regression in {folder}", again)
    regression = untaught_regression(config, lam, spec)
    load_weights(folder, regression, REGRESSION_FILES)
    return regression.eval().requires_grad_(False)


def _meaning(spec: RobotSpec) -> dict[str, str | float]:
    """What is seen and what an action is, for which alone a fit is good."""
    return {"camera": spec.camera, "source": spec.source, "frame": spec.frame, "rate_hz": spec.rate_hz}


def _check_meaning(fields: dict[str, Any], spec: RobotSpec, what: str, again: str) -> None:
    if fields.get("camera", spec.camera) != spec.camera:  # older ones do not name theirs
        raise CheckpointError(f"{what} was fitted to the camera '{fields['camera']}', not '{spec.camera}': put the "
                              f"cameras in robot.toml in their old order, or fit it again with {again}.")
    for key, now in (("source", spec.source), ("frame", spec.frame), ("rate_hz", spec.rate_hz)):
        # Older ones do not name theirs, which are measured and in the frame of the robot itself; their rate nobody knows.
        if (then := fields.get(key, OLDER.get(key, {}).get(spec.kind, now))) != now:
            raise CheckpointError(f"{what} was fitted to actions of {key} {then!r}, but robot.toml says {now!r}: set "
                                  f"that back, or fit it again with {again}.")


def has_regression(robot: str | Path, checkpoint: str | Path, spec: RobotSpec) -> bool:
    """Whether a goal regression was fitted for the robot's camera."""
    return (controller_folder(robot, checkpoint, spec) / REGRESSION_FILES.config).is_file()


def fit_again(robot: str | Path, checkpoint: str | Path) -> str:
    """The command that makes what is missing."""
    return f"`lamplan fit LOG... --robot {robot} --checkpoint {checkpoint}`"
