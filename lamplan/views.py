"""The same pictures, a little shifted: a motion read from all of them errs less than one read from a single pair."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lamplan.costs import Goals
from lamplan.motion import Kind

SHIFT = 4 / 128
"""Of a picture's side; of 2, 4, 6 and 8 pixels of the shipped model's 128 the best on development episodes. An encoder of patches sees a
picture anew with every few pixels, while a motion between two pictures that are shifted alike stays what it was."""
DIRECTIONS = {"arm": ((0, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)), "mobile": ((0, 0),)}
"""Shifts (down, right), the true view first. A camera that drives along sees things part from a point ahead: its picture, shifted, is that
of another motion, and nothing was gained."""


def views(images: Tensor, kind: Kind) -> Tensor:
    """(V, ..., H, W, 3) of images (..., H, W, 3) from a robot's camera: as they are, then shifted, the edges repeated."""
    return torch.stack([view(images, kind, number) for number in range(len(DIRECTIONS[kind]))])


def view(images: Tensor, kind: Kind, number: int) -> Tensor:
    """One of the `views` (..., H, W, 3); numbers beyond the last begin again."""
    height, width = images.shape[-3:-1]
    down, right = DIRECTIONS[kind][number % len(DIRECTIONS[kind])]

    def along(length: int, direction: int) -> Tensor:
        return (torch.arange(length, device=images.device) + direction * round(SHIFT * length)).clamp(0, length - 1)

    return images[..., along(height, down)[:, None], along(width, right), :]


@dataclass(frozen=True)
class Views:
    """What a motion is read from: the present frames (V * B, P, D) of B episodes and their goals in V views, all episodes as they are
    first."""

    present: Tensor
    goals: Goals
    episodes: int

    def mean(self, of_each: Tensor) -> Tensor:
        """What was read from every view (V * B, ...), as the mean (B, ...) over an episode's views."""
        return of_each.unflatten(0, (-1, self.episodes)).mean(0)

    @property
    def target(self) -> Tensor:
        """Where a plan is to end (V * B, P, D): at the last goal, or where any will do, at the one that looks most like the present."""
        features = self.goals.features
        if self.goals.sequence:
            return features[:, -1]
        far = (features[: self.episodes] - self.present[: self.episodes, None]).square().mean((-1, -2))
        return features[torch.arange(len(features), device=features.device), far.argmin(dim=1).repeat(len(features) // self.episodes)]
