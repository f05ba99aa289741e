"""Limits that hold for every candidate of a search, not only for its answer.

Shapes: B episodes, N candidates, H steps, A numbers per action.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lamplan.robot import RobotSpec

NEAR = 0.01
"""What lies this share of an action's range from a limit counts as held back by it."""


class Limits:
    """A robot's limits as a projection: actions go in, the nearest ones (axis by axis, step by step) that keep to them come out.

    Per step: `low` to `high`. Where the robot has a workspace and its position (B, 3) is known: the hand's target stays in the box; a
    hand that is outside may only come closer. Where `robot.change` is set: from `previous` (B, A) on no action differs from
    the one before by more, and an arm slows down in time for the walls of its box. A limit that cannot hold any more (the
    robot is already too fast for the wall ahead) gives way in this order: change, box, step limits.
    """

    def __init__(self, robot: RobotSpec, position: Tensor | None = None, previous: Tensor | None = None,
                 device: torch.device | str = "cpu") -> None:
        def tensor(limit: np.ndarray) -> Tensor:
            return torch.as_tensor(limit, dtype=torch.float32, device=device)

        self.low, self.high = tensor(robot.low), tensor(robot.high)
        self.change = None if robot.change is None else tensor(robot.change)
        self.position, self.previous = position, previous
        self.box = None
        if robot.workspace_low is not None and robot.workspace_high is not None and position is not None:
            self.box = tensor(robot.workspace_low), tensor(robot.workspace_high)

    def __call__(self, actions: Tensor) -> Tensor:
        """Actions (B, N, H, A) moved inside the limits; differentiable almost everywhere."""
        if self.box is None and self.change is None:
            return actions.clamp(self.low, self.high)
        place = None if self.position is None else self.position[:, None]
        before = torch.zeros_like(actions[:, :, 0]) if self.previous is None else self.previous[:, None].expand_as(actions[:, :, 0])
        kept = []
        for action in actions.unbind(2):
            if self.change is not None:
                action = torch.minimum(torch.maximum(action, before - self.change), before + self.change)
            if self.box is not None and place is not None:
                action = torch.cat([self._inside(action[..., :3], place), action[..., 3:]], dim=-1)
            before = action.clamp(self.low, self.high)
            if place is not None:
                place = place + before[..., :3]
            kept.append(before)
        return torch.stack(kept, dim=2)

    def active(self, actions: Tensor) -> Tensor:
        """Whether a limit holds any of an episode's actions (B, H, A) back: bool (B,)."""
        near = NEAR * (self.high - self.low)
        held = (actions < self.low + near) | (actions > self.high - near)
        if self.change is not None:
            first = torch.zeros_like(actions[:, :1]) if self.previous is None else self.previous[:, None]
            held |= actions.diff(dim=1, prepend=first).abs() > (1 - NEAR) * self.change
        if self.box is not None and self.position is not None:
            places = self.position[:, None] + actions[..., :3].cumsum(1)
            held[..., :3] |= (places < self.box[0] + near[:3]) | (places > self.box[1] - near[:3])
        return held.any((1, 2))

    def _inside(self, step: Tensor, place: Tensor) -> Tensor:
        """Steps (B, N, 3) from places (B, N or 1, 3) that end, and can still be stopped, in the box."""
        assert self.box is not None
        back, ahead = (room.clamp_min(0) for room in (place - self.box[0], self.box[1] - place))
        if self.change is not None:
            back, ahead = (stopping(room, self.change[:3]) for room in (back, ahead))
        return torch.minimum(torch.maximum(step, -back), ahead)


def stopping(room: Tensor, change: Tensor) -> Tensor:
    """The longest next step that can be slowed down, by `change` at every step, before `room` is used up.

    A step v is followed by v - c, v - 2c, ... With n whole slowdowns their sum is (n + 1) v - c n (n + 1) / 2.
    """
    whole = ((1 + 8 * room / change).sqrt() - 1).div(2).floor()
    return (room + change * whole * (whole + 1) / 2) / (whole + 1)
