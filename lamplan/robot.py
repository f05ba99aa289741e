"""`RobotSpec`: what an action of a robot means, read from `controllers/NAME/robot.toml`."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from lamplan.arrays import Array, library, like, numbers
from lamplan.errors import InputError
from lamplan.motion import Kind, between, differences, divided, turned

Source = Literal["measured", "commanded"]
FRAMES = {"arm": ("base", "camera"), "mobile": ("robot",)}
STATE_DIM = {"arm": 7, "mobile": 3}
ACTIONS = {"arm": {"dx": "m", "dy": "m", "dz": "m", "droll": "rad", "dpitch": "rad", "dyaw": "rad", "dgripper": "1"},
           "mobile": {"dx": "m", "dy": "m", "dyaw": "rad"}}
"""The numbers of an action in their order, each with its unit."""
TABLES = {"action": ("names", "units", "low", "high", "change", "source"), "prior": ("mean", "std"), "workspace": ("low", "high")}
ENTRIES = ("name", "kind", "rate_hz", "frame", "camera", *TABLES, "extrinsics")
"""What a robot.toml may hold; the entries of its [extrinsics] are cameras."""
HALVINGS = 20  # of a way that is too long for the limits: to a millionth of it
ROTATION_DIGITS = 5e-3  # how far typed entries of a rotation matrix may be rounded


@dataclass(frozen=True)
class RobotSpec:
    """Names, units, frame, rate and limits of a robot's action (A numbers per step).

    Two kinds are known. `arm`: state [x, y, z (m), euler xyz (rad, fixed axes), gripper (0 open, 1 closed)] in the base
    frame, action [Δxyz (m), Euler angles of R_{t+1} R_tᵀ (rad), Δgripper]. `mobile`: state [x, y (m), yaw (rad)] in a
    world frame, action [dx, dy (m), dyaw (rad)] in the robot's frame at t. `low` and `high` (A) limit every action, `change` (A),
    where it is given, how much it may differ from the one before; a `prior_std` of 0 holds its axis, which a search that begins at the
    prior then leaves alone. The workspace, of arms alone, is a box (3) for x, y, z.
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
    def load(cls, robot: str | Path, camera: str | None = None) -> RobotSpec:
        """Reads the `robot.toml` of a robot, given as by `robot_file`, seen through `camera`, by default the first that it names."""
        path = robot_file(robot)
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
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: {error}") from None
        return spec if camera is None else spec.through(camera)

    def through(self, camera: str) -> RobotSpec:
        """The same robot, seen through another of its cameras."""
        if camera not in self.cameras:
            raise InputError(f"{self.name} has no camera '{camera}'; its robot.toml names {', '.join(self.cameras)}.")
        return replace(self, camera=camera)


def _from_table(table: dict[str, Any]) -> RobotSpec:
    _check_known(table)
    action, prior, box = table["action"], table["prior"], table.get("workspace")
    kind = table["kind"]
    if kind not in list(FRAMES):
        raise ValueError(f"kind is '{kind}', expected one of {', '.join(FRAMES)}.")
    if (frame := table["frame"]) not in FRAMES[kind]:
        raise ValueError(f"frame is '{frame}'; actions of a robot of kind '{kind}' are in the frame of its {' or '.join(FRAMES[kind])}.")
    if (source := action.get("source", "measured")) not in get_args(Source):
        raise ValueError(f"'source' is '{source}', expected one of {', '.join(get_args(Source))}.")
    names, units = tuple(ACTIONS[kind]), tuple(ACTIONS[kind].values())
    for key, expected in (("names", names), ("units", units)):
        if action[key] != list(expected):
            raise ValueError(f"'{key}' in [action] of a robot of kind '{kind}' must be {list(expected)}, found {action[key]!r}; give "
                             "limits and prior in this order and these units.")
    rate_hz = table["rate_hz"]
    if not _is_number(rate_hz) or not 0 < rate_hz < math.inf:
        raise ValueError(f"'rate_hz' must be a positive number of steps a second, found {rate_hz!r}.")
    low, high = _limits(action, "action", names)
    mean = _vector(prior, "prior", "mean", names)
    std = _vector(prior, "prior", "std", names, "finite numbers of at least 0", lambda value: 0 <= value < math.inf)
    if not std.any():
        raise ValueError("'std' in [prior] is 0 on every axis, so that nothing would be searched; give those that may move a spread.")
    change = None
    if "change" in action:
        change = _vector(action, "action", "change", names, "positive numbers", lambda value: 0 < value < math.inf)
    if box is not None and kind != "arm":
        raise ValueError(f"[workspace] is for arms, found one of a robot of kind '{kind}'; take it out.")
    corners = (None, None) if box is None else _limits(box, "workspace", ("x", "y", "z"))
    if box is not None and frame == "camera":
        raise ValueError("[workspace] is a box in the base frame, and actions in the camera's frame cannot be kept in it axis by axis; "
                         "leave it out, or plan in the frame 'base'.")
    cameras = tuple(table["camera"]) if isinstance(table["camera"], list) else (table["camera"],)
    # The name of any but the first is that of a folder as well.
    if (not cameras or not all(isinstance(name, str) and name for name in cameras) or len(set(cameras)) < len(cameras)
            or any(Path(name).name != name or name == ".." for name in cameras[1:])):
        raise ValueError(f"'camera' is the name of a camera in the robot's logs, or a list of different ones; found {table['camera']!r}.")
    stands = table.get("extrinsics", {})
    if stands and (frame != "camera" or not set(stands) <= set(cameras)):
        raise ValueError(f"[extrinsics] says, for frame = 'camera', how the cameras {', '.join(cameras)} stand; found frame '{frame}' and "
                         f"{', '.join(stands)}.")
    return RobotSpec(
        name=str(table["name"]), kind=kind, rate_hz=float(rate_hz), frame=frame, camera=cameras[0], cameras=cameras, source=source,
        axes={camera: rotation(matrix, f"[extrinsics] {camera}") for camera, matrix in stands.items()},
        names=names, units=units, low=low, high=high, prior_mean=mean, prior_std=std, workspace_low=corners[0], workspace_high=corners[1],
        change=change,
    )


def _check_known(table: dict[str, Any]) -> None:
    """Raises ValueError for an entry that nothing would read: a workspace whose name is misspelt would keep no hand in it."""
    for name in (*TABLES, "extrinsics"):
        if not isinstance(table.get(name, {}), dict):
            raise ValueError(f"'{name}' must be a table, found {table[name]!r}; write [{name}] above its entries.")
    for place, part, known in (("", table, ENTRIES), *((f" in [{name}]", table.get(name, {}), keys) for name, keys in TABLES.items())):
        for key in part:
            if key not in known:
                meant = "".join(f", perhaps '{near}' is meant" for near in get_close_matches(key, known, n=1))
                raise ValueError(f"the entry '{key}'{place} is not one of {', '.join(known)}{meant}: rename it or take it out.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _vector(table: dict[str, Any], place: str, key: str, names: Sequence[str], what: str = "finite numbers",
            right: Callable[[float], bool] = math.isfinite) -> np.ndarray:
    """An entry of [place] that holds a number for each of the names. Raises ValueError unless each is `right`, as `what` says."""
    found = table[key]
    if not isinstance(found, list) or len(found) != len(names) or not all(_is_number(value) and right(value) for value in found):
        raise ValueError(f"'{key}' in [{place}] must hold {len(names)} {what}, one for each of {', '.join(names)}; found {found!r}.")
    return np.asarray(found, dtype=np.float64)


def _limits(table: dict[str, Any], place: str, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """`low` and `high` of [place], each low below its high."""
    low, high = (_vector(table, place, key, names) for key in ("low", "high"))
    for axis, name in enumerate(names):
        if not low[axis] < high[axis]:
            raise ValueError(f"every 'low' in [{place}] must lie below its 'high', found {low[axis]:g} and {high[axis]:g} for {name}.")
    return low, high


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


def robot_folder(name: str | Path) -> Path:
    """The folder of a robot, given itself or by its name under `controllers/`. Raises InputError when it holds no `robot.toml`."""
    for folder in (Path(name), Path("controllers") / name):
        if (folder / "robot.toml").is_file():
            return folder
    raise InputError(f"no robot '{name}': expected a folder that holds a robot.toml, or the name of one under controllers/.")


def robot_file(robot: str | Path) -> Path:
    """The TOML file of a robot, given itself, its folder, or the name of that under `controllers/`."""
    path = Path(robot)
    return path if path.suffix == ".toml" and not path.is_dir() else robot_folder(path) / "robot.toml"
