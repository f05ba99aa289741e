"""`RobotSpec`: what an action of a robot means, read from `controllers/NAME/robot.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from lamplan.errors import InputError

KINDS = ("arm", "mobile")
STATE_DIM = {"arm": 7, "mobile": 3}


@dataclass(frozen=True)
class RobotSpec:
    """Names, units, frame, rate and limits of a robot's action (A numbers per step).

    Two kinds are known. `arm`: state [x, y, z (m), euler xyz (rad, fixed axes), gripper (0 open, 1 closed)] in the base
    frame, action [Δxyz (m), Euler angles of R_{t+1} R_tᵀ (rad), Δgripper]. `mobile`: state [x, y (m), yaw (rad)] in a
    world frame, action [dx, dy (m), dyaw (rad)] in the robot's frame at t. `low` and `high` (A) limit every action, `change` (A),
    where it is given, how much it may differ from the one before. The workspace, of arms alone, is a box (3) for x, y, z.
    `camera` is the one of the robot's `cameras` that is looked through here; each has a controller of its own.
    """

    name: str
    kind: Literal["arm", "mobile"]
    rate_hz: float
    frame: str
    camera: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    prior_mean: np.ndarray
    prior_std: np.ndarray
    workspace_low: np.ndarray | None = None
    workspace_high: np.ndarray | None = None
    change: np.ndarray | None = None
    cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.cameras:
            object.__setattr__(self, "cameras", (self.camera,))

    @property
    def action_dim(self) -> int:
        return len(self.names)

    @property
    def state_dim(self) -> int:
        return STATE_DIM[self.kind]

    @property
    def position(self) -> slice:
        """The numbers of an action that move the robot in space, in metres."""
        return slice(0, 3 if self.kind == "arm" else 2)

    def clip(self, actions: np.ndarray) -> np.ndarray:
        """Actions (..., A) moved into the per-step limits."""
        return np.clip(actions, self.low, self.high)

    def differences(self, states: np.ndarray) -> np.ndarray:
        """Actions (T-1, A) that led from each state to the next one, from states (T, S); see the class for the units."""
        states = np.asarray(states, dtype=np.float64)
        if states.ndim != 2 or states.shape[1] != self.state_dim:
            raise InputError(f"states of a robot of kind '{self.kind}' have shape (T, {self.state_dim}), found {states.shape}.")
        return differences(self.kind, states)

    def split(self, displacement: np.ndarray, steps: int) -> np.ndarray:
        """The action (..., A) that, taken `steps` times, leads by `displacement` (..., A), itself an action; where the limits
        do not allow it, as far as they do in the same direction. A mobile robot drives a circle."""
        step = displacement / steps if self.kind == "arm" else _arc_step(displacement, steps)
        room = np.where(step > 0, self.high, self.low) / np.where(step == 0, np.inf, step)
        shrink = np.where(step == 0, 1.0, np.clip(room, 0.0, 1.0))
        # An arm's position, angles and gripper are limited apart, so that a far goal does not slow a grasp.
        for part in (slice(0, 3), slice(3, 6))[: self.action_dim // 3]:
            shrink[..., part] = shrink[..., part].min(axis=-1, keepdims=True)
        return self.clip(step * shrink)

    def over(self, steps: int) -> RobotSpec:
        """The same robot as seen by a search whose every action is the motion of `steps` steps. For a mobile robot, which does not
        go straight while it turns, these limits are generous; `split` brings its answer back within the true ones."""
        if steps == 1:
            return self
        return replace(self, rate_hz=self.rate_hz / steps, low=self.low * steps, high=self.high * steps, prior_mean=self.prior_mean * steps,
                       prior_std=self.prior_std * steps**0.5)

    @classmethod
    def load(cls, folder: str | Path, camera: str | None = None) -> RobotSpec:
        """Reads `folder/robot.toml` (or the TOML file itself), seen through `camera`, by default the first that it names."""
        path = Path(folder)
        path = path / "robot.toml" if path.is_dir() or path.suffix != ".toml" else path
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"no robot description at {path}: give a folder that holds a robot.toml.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not valid TOML ({error}); compare it with controllers/panda/robot.toml.") from None
        try:
            spec = _from_table(table)
        except KeyError as error:
            raise InputError(f"{path} lacks the entry {error}; compare it with controllers/panda/robot.toml.") from None
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: {error}") from None
        return spec if camera is None else spec.through(camera)

    def through(self, camera: str) -> RobotSpec:
        """The same robot, seen through another of its cameras."""
        if camera not in self.cameras:
            raise InputError(f"{self.name} has no camera '{camera}'; its robot.toml names {', '.join(self.cameras)}.")
        return replace(self, camera=camera)


def _from_table(table: dict[str, Any]) -> RobotSpec:
    action, prior, box = table["action"], table["prior"], table.get("workspace")
    kind, names = table["kind"], tuple(action["names"])
    if kind not in KINDS:
        raise ValueError(f"kind is '{kind}', expected one of {', '.join(KINDS)}.")
    width, units = (7 if kind == "arm" else 3), tuple(action["units"])
    if len(names) != width or len(units) != width:
        raise ValueError(f"a robot of kind '{kind}' has {width} action names and units, found {len(names)} names and {len(units)} units.")
    vectors = {key: np.asarray(source[key], dtype=np.float64)
               for source, keys in ((action, ("low", "high")), (prior, ("mean", "std"))) for key in keys}
    for key, vector in vectors.items():
        if vector.shape != (len(names),) or not np.isfinite(vector).all():
            raise ValueError(f"'{key}' must hold {len(names)} finite numbers, one for each of {', '.join(names)}; found {vector.tolist()}.")
    if not (vectors["low"] < vectors["high"]).all():
        raise ValueError("every lower action limit must lie below the upper one.")
    if not (vectors["std"] > 0).all() or not float(table["rate_hz"]) > 0:
        raise ValueError("rate_hz and every prior std must be positive.")
    change = None if "change" not in action else np.asarray(action["change"], dtype=np.float64)
    if change is not None and (change.shape != (len(names),) or not (change > 0).all()):
        raise ValueError(f"'change' must hold {len(names)} positive numbers, found {change.tolist()}.")
    if box is not None:
        corners = [np.asarray(box[key], dtype=np.float64) for key in ("low", "high")]
        if kind != "arm" or any(corner.shape != (3,) for corner in corners) or not (corners[0] < corners[1]).all():
            raise ValueError("[workspace] is for arms: 'low' and 'high' hold x, y and z in metres, each low below its high.")
    cameras = (table["camera"],) if isinstance(table["camera"], str) else tuple(table["camera"])
    # The name of any but the first is that of a folder as well.
    if not cameras or len(set(cameras)) < len(cameras) or any(Path(str(name)).name != name or name in ("", "..") for name in cameras[1:]):
        raise ValueError(f"'camera' is the name of a camera in the robot's logs, or a list of different ones; found {table['camera']!r}.")
    return RobotSpec(
        name=str(table["name"]), kind=kind, rate_hz=float(table["rate_hz"]), frame=str(table["frame"]), camera=cameras[0], cameras=cameras,
        names=names, units=units, low=vectors["low"], high=vectors["high"],
        prior_mean=vectors["mean"], prior_std=vectors["std"],
        workspace_low=None if box is None else np.asarray(box["low"], dtype=np.float64),
        workspace_high=None if box is None else np.asarray(box["high"], dtype=np.float64),
        change=change,
    )


def robot_folder(name: str) -> Path:
    """The folder of a robot, given itself or by its name under `controllers/`. Raises InputError when it holds no `robot.toml`."""
    for folder in (Path(name), Path("controllers") / name):
        if (folder / "robot.toml").is_file():
            return folder
    raise InputError(f"no robot '{name}': expected a folder that holds a robot.toml, or the name of one under controllers/.")


def differences(kind: Literal["arm", "mobile"], states: np.ndarray) -> np.ndarray:
    """Actions (T-1, A) of a robot of some kind that led from each of the states (T, S) to the next one; see `RobotSpec`."""
    return arm_motion(states[:-1], states[1:]) if kind == "arm" else _mobile_differences(states)


def arm_motion(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Actions (T, 7) of an arm that lead from states (T, 7) to states (T, 7); see `RobotSpec` for the units."""
    turned = (Rotation.from_euler("xyz", after[:, 3:6]) * Rotation.from_euler("xyz", before[:, 3:6]).inv()).as_euler("xyz")
    return np.concatenate([after[:, :3] - before[:, :3], turned, after[:, 6:7] - before[:, 6:7]], axis=1)


def mobile_arc(speed_m_s: np.ndarray, turn_rad_s: np.ndarray, seconds: float) -> np.ndarray:
    """Actions (T, 3) of a mobile robot that drives at steady speeds (T,) and turns at steady rates (T,) for some seconds."""
    length, turn = speed_m_s * seconds, turn_rad_s * seconds
    # The chord of an arc: sin(turn) / turn and (1 - cos(turn)) / turn, which stay right for a straight line.
    return np.stack([length * np.sinc(turn / np.pi), length * np.sinc(turn / 2 / np.pi) * np.sin(turn / 2), turn], axis=1)


def _mobile_differences(states: np.ndarray) -> np.ndarray:
    step, yaw = np.diff(states[:, :2], axis=0), states[:-1, 2]
    forward = np.cos(yaw) * step[:, 0] + np.sin(yaw) * step[:, 1]
    left = -np.sin(yaw) * step[:, 0] + np.cos(yaw) * step[:, 1]
    turned = (np.diff(states[:, 2]) + np.pi) % (2 * np.pi) - np.pi
    return np.stack([forward, left, turned], axis=1)


def _arc_step(pose: np.ndarray, steps: int) -> np.ndarray:
    """The motion (..., 3) that, repeated `steps` times, leads along a circle to the planar poses [x, y, yaw] (..., 3)."""
    position, yaw = pose[..., 0] + 1j * pose[..., 1], pose[..., 2]
    # A repeated turn by `yaw / steps` adds up like a geometric series of unit complex numbers.
    straight = np.abs(yaw) < 1e-6
    turned = np.where(straight, 1.0, yaw)
    first = position * np.where(straight, 1 / steps, (1 - np.exp(1j * turned / steps)) / (1 - np.exp(1j * turned)))
    return np.stack([first.real, first.imag, yaw / steps], axis=-1)
