"""Plans described by a single action: the search then has A numbers to find, however long the horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lamplan.robot import RobotSpec


class Shape(Protocol):
    """A family of plans, each told by one action."""

    def spread(self, action: Tensor, steps: int) -> Tensor:
        """(..., 1, A) to the plan (..., steps, A)."""
        ...

    def narrow(self, displacement: np.ndarray, steps: int, robot: RobotSpec) -> np.ndarray:
        """The action (..., A) whose plan of `steps` steps leads by `displacement` (..., A)."""
        ...


@dataclass(frozen=True)
class StraightLine:
    """One (dx, dy) repeated, the whole turn at the last step (RECON protocol)."""

    def spread(self, action: Tensor, steps: int) -> Tensor:
        still = torch.cat([action[..., :2], torch.zeros_like(action[..., 2:])], dim=-1)
        return torch.cat([still.expand(*action.shape[:-2], steps - 1, action.shape[-1]), action], dim=-2)

    def narrow(self, displacement: np.ndarray, steps: int, robot: RobotSpec) -> np.ndarray:
        return np.concatenate([displacement[..., :2] / steps, displacement[..., 2:]], axis=-1)


@dataclass(frozen=True)
class Arc:
    """The same action all along; with a turn in it, a mobile robot drives a circle."""

    def spread(self, action: Tensor, steps: int) -> Tensor:
        return action.expand(*action.shape[:-2], steps, action.shape[-1])

    def narrow(self, displacement: np.ndarray, steps: int, robot: RobotSpec) -> np.ndarray:
        return robot.split(displacement, steps)
