"""What RLDS does not say of itself and has to be known: rate, columns and signs of a data set, by its name."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lamplan.errors import DataError

SIDECAR = "log.toml"


@dataclass(frozen=True)
class Convention:
    """How a data set is read.

    state:  features of a step whose values side by side are the state. action: that of the commands, None to leave them out.
    to_states: (T, S) as kept -> (T, S') as `RobotSpec` defines them.
    to_actions: commands (T, A) as kept and states as `RobotSpec` defines them (T, S') -> commands (T, A').
    """

    rate_hz: float
    state: tuple[str, ...]
    action: str | None = "action"
    robot: str = ""
    to_states: Callable[[np.ndarray], np.ndarray] = lambda states: states
    to_actions: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda actions, states: actions


def convention(name: str, folder: Path, features: set[str]) -> Convention:
    """The convention of a known data set; any other is read as it stands, at the rate that a file `log.toml` beside it gives."""
    if name in KNOWN:
        return KNOWN[name]
    state = next((key for key in ("observation/state", "observation/proprio") if key in features), None)
    if state is None:
        raise DataError(f"{folder}: its steps have no observation/state (the robot's pose) but {', '.join(sorted(features))[:300]}.")
    return Convention(_rate(name, folder), (state,), "action" if "action" in features else None)


def _rate(name: str, folder: Path) -> float:
    path = folder / SIDECAR
    advice = f"write a file {SIDECAR} with the line 'rate_hz = 10.0' (the steps per second of this data set) into {folder}"
    try:
        rate = tomllib.loads(path.read_text(encoding="utf-8")).get("rate_hz")
    except FileNotFoundError:
        raise DataError(f"RLDS does not say the rate of a recording, and '{name}' is none of {', '.join(KNOWN)}: {advice}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}): {advice}.") from None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1e6:
        raise DataError(f"{path} must give rate_hz, a positive number of steps per second: {advice}.")
    return float(rate)


def _closed(opening: np.ndarray) -> np.ndarray:
    """BridgeData keeps how far the gripper is open: about 1 (a little more by noise), falling to the width of what it grasps."""
    return 1 - np.clip(opening, 0, 1)


def _seven(values: np.ndarray) -> np.ndarray:
    if values.shape[1] != 7:
        raise ValueError(f"7 numbers per step were expected, found {values.shape[1]}")
    return values


def _bridge_states(states: np.ndarray) -> np.ndarray:
    """The angles are Euler angles about the fixed axes, as ours; the hand pointing down is zero, which no difference notices."""
    return np.concatenate([_seven(states)[:, :6], _closed(states[:, 6:7])], axis=1)


def _bridge_actions(actions: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Motions in metres and radians; the gripper is told an opening, not a change."""
    return np.concatenate([_seven(actions)[:, :6], _closed(actions[:, 6:7]) - states[:, 6:7]], axis=1)


BRIDGE = Convention(5.0, ("observation/state",), robot="widowx", to_states=_bridge_states, to_actions=_bridge_actions)
# DROID's `action` mixes velocities of joints with a position of the gripper, so what is commanded is left out.
DROID = Convention(15.0, ("observation/cartesian_position", "observation/gripper_position"), action=None, robot="panda")

# DROID is published in folders droid_100/1.0.0, droid/1.0.0 and droid/1.0.1; what is in them calls itself by the last two names.
KNOWN = {"bridge_dataset": BRIDGE, "bridge_orig": BRIDGE, **dict.fromkeys(("droid", "droid_100", "r2d2_faceblur", "droid_101"), DROID)}
