"""Plans described by a single action: the search then has A numbers to find, however long the horizon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lamplan.robot import RobotSpec


class Shape(Protocol):
    """A family of plans of a mobile robot, each told by one action."""

    def spread(self, action: Tensor, steps: int) -> Tensor:
        """(..., 1, A) to the plan (..., steps, A)."""
        ...

    def driven(self, action: Tensor, steps: int, strides: int) -> Tensor:
        """(..., 1, A) to the motion (..., strides, A) in equal parts by which a robot that cannot slide gets to where the plan leads."""
        ...

    def narrow(self, displacement: np.ndarray, steps: int, robot: RobotSpec) -> np.ndarray:
        """The action (..., A) whose plan of `steps` steps leads by `displacement` (..., A)."""
        ...

    def narrow_spread(self, spread: Tensor, steps: int) -> Tensor:
        """The standard deviation (A) of that action, from the displacement's."""
        ...


@dataclass(frozen=True)
class StraightLine:
    """One (dx, dy) repeated, the whole turn at the last step (RECON protocol).

    A model that is told the pose ahead, as the protocol's own is, need not say how the robot gets there. One that imagines motions must:
    it drives the circle that begins along the robot's heading and ends at the line's end.
    """

    def spread(self, action: Tensor, steps: int) -> Tensor:
        still = torch.cat([action[..., :2], torch.zeros_like(action[..., 2:])], dim=-1)
        return torch.cat([still.expand(*action.shape[:-2], steps - 1, action.shape[-1]), action], dim=-2)

    def driven(self, action: Tensor, steps: int, strides: int) -> Tensor:
        bearing = torch.atan2(action[..., 1:2], action[..., :1])  # half of the turn on that circle
        chord = torch.linalg.vector_norm(action[..., :2], dim=-1, keepdim=True) * steps
        # sin(bearing / strides) / sin(bearing), the share of the chord that one part has, which stays right for a straight line.
        chord = chord * torch.sinc(bearing / strides / torch.pi) / (strides * torch.sinc(bearing / torch.pi)).clamp_min(1e-3)
        part = bearing / strides
        motion = torch.cat([chord * torch.cos(part), chord * torch.sin(part), 2 * part], dim=-1)
        return motion.expand(*action.shape[:-2], strides, action.shape[-1])

    def narrow(self, displacement: np.ndarray, steps: int, robot: RobotSpec) -> np.ndarray:
        return np.concatenate([displacement[..., :2] / steps, displacement[..., 2:]], axis=-1)

    def narrow_spread(self, spread: Tensor, steps: int) -> Tensor:
        return torch.cat([spread[..., :2] / steps, spread[..., 2:]], dim=-1)


@dataclass(frozen=True)
class Arc:
    """The same action all along; with a turn in it, a mobile robot drives a circle."""

    def spread(self, action: Tensor, steps: int) -> Tensor:
        return action.expand(*action.shape[:-2], steps, action.shape[-1])

    def driven(self, action: Tensor, steps: int, strides: int) -> Tensor:
        parts, every = [], steps // strides
        turn = action[..., 2:]
        for k in range(every):  # a part's steps, each turned into the frame in which the part begins
            cos, sin = torch.cos(k * turn), torch.sin(k * turn)
            dx, dy = action[..., :1], action[..., 1:2]
            parts.append(torch.cat([cos * dx - sin * dy, sin * dx + cos * dy, turn], dim=-1))
        motion = torch.stack(parts).sum(0)
        return motion.expand(*action.shape[:-2], strides, action.shape[-1])

    def narrow(self, displacement: np.ndarray, steps: int, robot: RobotSpec) -> np.ndarray:
        return robot.split(displacement, steps)

    def narrow_spread(self, spread: Tensor, steps: int) -> Tensor:
        return spread / steps
