"""`RobotSpec`: what an action of a robot means, read from `controllers/NAME/robot.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from lamplan.arrays import Array, library, like, numbers
from lamplan.errors import InputError
from lamplan.motion import Kind, between, differences, divided, turned

Source = Literal["measured", "commanded"]
FRAMES = {"arm": ("base", "camera"), "mobile": ("robot",)}
STATE_DIM = {"arm": 7, "mobile": 3}
HALVINGS = 20  # of a way that is too long for the limits: to a millionth of it
ROTATION_DIGITS = 5e-3  # how far typed entries of a rotation matrix may be rounded


@dataclass(frozen=True)
class RobotSpec:
    """Names, units, frame, rate and limits of a robot's action (A numbers per step).

    Two kinds are known. `arm`: state [x, y, z (m), euler xyz (rad, fixed axes), gripper (0 open, 1 closed)] in the base
    frame, action [Δxyz (m), Euler angles of R_{t+1} R_tᵀ (rad), Δgripper]. `mobile`: state [x, y (m), yaw (rad)] in a
    world frame, action [dx, dy (m), dyaw (rad)] in the robot's frame at t. `low` and `high` (A) limit every action, `change` (A),
    where it is given, how much it may differ from the one before. The workspace, of arms alone, is a box (3) for x, y, z.
    `camera` is the one of the robot's `cameras` that is looked through here; each has a controller of its own.

    An arm's actions may be said in the axes of that camera instead (`frame` "camera"): `axes` has those axes in the base frame by camera,
    as the columns of (3, 3), where a log does not say, and `to_base` turns the actions back. States stay in the base frame.
    `source` says what counts as an action in a log: the motion measured between its states, or the commands.
    """

    name: str
    kind: Kind
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
    source: Source = "measured"
    axes: dict[str, np.ndarray] = field(default_factory=dict)

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

    def differences(self, states: Array) -> Array:
        """Actions (..., T-1, A) that led from each state to the next one, from states (..., T, S) and in their axes; see the class for the
        units. Tensors stay on their device."""
        states = numbers(states)
        if states.ndim < 2 or states.shape[-1] != self.state_dim:
            raise InputError(f"states of a robot of kind '{self.kind}' have shape (..., T, {self.state_dim}), found {tuple(states.shape)}.")
        return differences(self.kind, states)

    def motion(self, before: Array, after: Array) -> Array:
        """Actions (..., A) that lead from states (..., S) to others, likewise."""
        return between(self.kind, before, after)

    def to_base(self, actions: Array, axes: np.ndarray | None = None) -> Array:
        """Actions (..., A) of a plan as the robot is told them: those in the axes of its camera turned into the base frame's.

        axes: (3, 3), the camera's in the base frame as columns, where it does not stand as robot.toml says. InputError where neither tells.
        """
        if self.frame != "camera":
            return actions
        axes = self.axes.get(self.camera) if axes is None else rotation(axes, "axes")
        if axes is None:
            raise InputError(f"the actions of {self.name} are in the frame of {self.camera}, and robot.toml does not say how it stands: "
                             f"give `axes`, or add {self.camera} to [extrinsics].")
        return turned(actions, axes)

    def split(self, displacement: Array, steps: int) -> Array:
        """The action (..., A) that, taken `steps` times, leads by `displacement` (..., A), itself an action; where the limits
        do not allow it, as far as they do on the same way. An arm turns about one axis, a mobile robot drives a circle."""
        if self.kind == "mobile":
            return self._along(displacement, steps)
        step = divided(self.kind, displacement, steps)
        xp, low, high = library(step), like(self.low, step), like(self.high, step)
        room = xp.where(step > 0, high, low) / xp.where(step == 0, np.inf, step)
        shrink = xp.where(step == 0, 1.0, xp.clip(room, 0.0, 1.0))
        # Position, angles and gripper are limited apart, so that a far goal does not slow a grasp.
        for part in (slice(0, 3), slice(3, 6)):
            shrink[..., part] = xp.amin(shrink[..., part], -1)[..., None]
        return xp.clip(step * shrink, low, high)

    def _along(self, displacement: Array, steps: int) -> Array:
        """A mobile robot's step on the circle that leads by `displacement`: a part of it in `steps`, or as much less as the limits ask for.

        A shorter part bends less aside than it is shorter, so that how much fits is found by halving.
        """
        whole = numbers(displacement)
        xp, low, high = library(whole), like(self.low, whole), like(self.high, whole)
        all_of_it = xp.ones_like(whole[..., 0])

        def part(share: Array) -> Array:
            return divided(self.kind, whole, steps / share)

        def fits(share: Array) -> Array:
            step = part(share)
            return ((step >= low) & (step <= high)).all(-1)

        inside, beyond = xp.zeros_like(all_of_it), all_of_it
        for _ in range(HALVINGS):
            middle = (inside + beyond) / 2
            good = fits(middle)
            inside, beyond = xp.where(good, middle, inside), xp.where(good, beyond, middle)
        # No part fits of a way that begins beyond a limit, as of a goal behind a robot that cannot back up: the limits clip all of it.
        share = xp.where(fits(all_of_it) | (inside == 0), all_of_it, inside)
        return xp.clip(part(share), low, high)

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
    if kind not in FRAMES:
        raise ValueError(f"kind is '{kind}', expected one of {', '.join(FRAMES)}.")
    if (frame := table["frame"]) not in FRAMES[kind]:
        raise ValueError(f"frame is '{frame}'; actions of a robot of kind '{kind}' are in the frame of its {' or '.join(FRAMES[kind])}.")
    if (source := action.get("source", "measured")) not in get_args(Source):
        raise ValueError(f"'source' is '{source}', expected one of {', '.join(get_args(Source))}.")
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
    if box is not None and frame == "camera":
        raise ValueError("[workspace] is a box in the base frame, and actions in the camera's frame cannot be kept in it axis by axis; "
                         "leave it out, or plan in the frame 'base'.")
    cameras = (table["camera"],) if isinstance(table["camera"], str) else tuple(table["camera"])
    # The name of any but the first is that of a folder as well.
    if not cameras or len(set(cameras)) < len(cameras) or any(Path(str(name)).name != name or name in ("", "..") for name in cameras[1:]):
        raise ValueError(f"'camera' is the name of a camera in the robot's logs, or a list of different ones; found {table['camera']!r}.")
    stands = table.get("extrinsics", {})
    if stands and (frame != "camera" or not set(stands) <= set(cameras)):
        raise ValueError(f"[extrinsics] says, for frame = 'camera', how the cameras {', '.join(cameras)} stand; found frame '{frame}' and "
                         f"{', '.join(stands)}.")
    return RobotSpec(
        name=str(table["name"]), kind=kind, rate_hz=float(table["rate_hz"]), frame=frame, camera=cameras[0], cameras=cameras, source=source,
        axes={camera: rotation(matrix, f"[extrinsics] {camera}") for camera, matrix in stands.items()},
        names=names, units=units, low=vectors["low"], high=vectors["high"],
        prior_mean=vectors["mean"], prior_std=vectors["std"],
        workspace_low=None if box is None else np.asarray(box["low"], dtype=np.float64),
        workspace_high=None if box is None else np.asarray(box["high"], dtype=np.float64),
        change=change,
    )


def rotation(matrix: Any, what: str) -> np.ndarray:
    """The matrix (3, 3), made exactly orthogonal. Raises InputError, which begins with `what`, unless it is a rotation to three digits."""
    try:
        found = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape == (3, 3) and np.isfinite(found).all():
        left, _, right = np.linalg.svd(found)
        if np.linalg.det(found) > 0 and np.abs(left @ right - found).max() < ROTATION_DIGITS:
            return np.asarray(left @ right)
    raise InputError(f"{what} must be a rotation matrix (3, 3), whose columns are the camera's axes in the base frame; found "
                     f"{np.array2string(found, separator=', ', threshold=9)}.")


def robot_folder(name: str) -> Path:
    """The folder of a robot, given itself or by its name under `controllers/`. Raises InputError when it holds no `robot.toml`."""
    for folder in (Path(name), Path("controllers") / name):
        if (folder / "robot.toml").is_file():
            return folder
    raise InputError(f"no robot '{name}': expected a folder that holds a robot.toml, or the name of one under controllers/.")
