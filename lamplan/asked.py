"""What a user gives to a planner, looked at before anything is done with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamplan.costs import AnyOf
from lamplan.errors import InputError


def images_of(value: Any, name: str, camera: str | None = None) -> Tensor:
    """A uint8 tensor (H, W, 3) or (B, H, W, 3) of what a user passed as an image, or as an observation that has it by a camera's name."""
    if isinstance(value, Mapping) and camera is not None:
        if camera not in value:
            raise InputError(f"the {name} has no '{camera}', the camera that the planner looks through; it has {sorted(map(str, value))}.")
        value = value[camera]
    try:
        # A copy: torch may not write to the user's.
        image = torch.as_tensor(np.array(value, order="C") if not isinstance(value, Tensor) else value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a uint8 image (H, W, 3) or a batch (B, H, W, 3), found {type(value).__name__}.") from None
    if image.dtype != torch.uint8:
        raise InputError(f"{name} must be uint8 (0 to 255), found {image.dtype}; multiply an image in 0..1 by 255 and convert it.")
    if image.ndim not in (3, 4) or image.shape[-1] != 3 or min(image.shape) == 0:
        raise InputError(f"{name} must have shape (H, W, 3) or (B, H, W, 3), found {tuple(image.shape)}.")
    return image


def numbers_of(value: Any, name: str, shape: tuple[int, int], robot: str) -> Tensor:
    """What a user passed for each of B episodes (B, width), or for the only one (width,), as a tensor (B, width)."""
    try:
        vector = value.detach().cpu().float() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value, dtype=np.float32))
    except (TypeError, ValueError):
        raise InputError(f"{name} of {robot} holds {shape[1]} numbers for each of {shape[0]} observations, found "
                         f"{type(value).__name__}.") from None
    vector = vector[None] if vector.ndim == 1 else vector
    if vector.shape != shape:
        raise InputError(f"{name} of {robot} holds {shape[1]} numbers for each of {shape[0]} observations, found shape "
                         f"{tuple(np.shape(value))}.")
    if not torch.isfinite(vector).all():
        raise InputError(f"{name} of {robot} must hold finite numbers, found {vector.tolist()}.")
    return vector


def answered(name: str, costs: Any, candidates: Tensor) -> Tensor:
    """What a user's function said of candidates (b, n), looked at."""
    if not isinstance(costs, Tensor) or costs.shape != candidates.shape:
        found = tuple(costs.shape) if isinstance(costs, Tensor) else type(costs).__name__
        raise InputError(f"{name} must return one cost for each candidate, a tensor {tuple(candidates.shape)}; found {found}.")
    return costs.to(candidates)


def deadline_of(value: Any) -> float | None:
    """Seconds that a user allows for a plan."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < float(value) < math.inf:
        raise InputError(f"deadline_s is a positive number of seconds, found {value!r}.")
    return float(value)


def seed_of(value: Any) -> int:
    """A seed as torch takes it."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= int(value) < 2**63:
        raise InputError(f"a seed is a whole number from 0 to 2**63 - 1, found {value!r}.")
    return int(value)


def device_of(name: str, hold: bool = True) -> torch.device:
    """A device by torch's name, which can `hold` a tensor here unless that is not to be tried."""
    try:
        device = torch.device(name)
        if hold:
            torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, TypeError):
        raise InputError(f"this machine and this torch ({torch.__version__}) have no device {name!r} that holds a tensor: give another, "
                         "such as 'cpu'.") from None
    return device


def stride_of(value: Any) -> int:
    """How many of a robot's steps a search's one stands for."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"a planner's stride is a whole number from 1 on, found {value!r}.")
    return int(value)


def state_of(obs: Any) -> Any:
    """The robot's state in an observation, or in the last of a list of them; None where there is none."""
    latest = obs[-1] if isinstance(obs, Sequence) and len(obs) else obs
    return latest.get("proprio") if isinstance(latest, Mapping) else None


def several(goal: Any) -> list[Any]:
    """The goals that a user gave, one or more."""
    return goal.goals if isinstance(goal, AnyOf) else list(goal) if isinstance(goal, list | tuple) else [goal]


def is_encoded(goal: Any) -> bool:
    """Whether a goal is features instead of a picture."""
    return (isinstance(goal, np.ndarray) and goal.dtype.kind == "f") or (isinstance(goal, Tensor) and goal.is_floating_point())
