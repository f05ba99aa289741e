"""A robot's logs as a controller learns from them: encoded frames, and the motion and the latent between any two that lie close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lamplan.errors import DataError, InputError
from lamplan.lam import LatentActionModel
from lamplan.logs import Episode, episodes_of, path_of
from lamplan.logs.select import leave_out
from lamplan.precision import Precision, products
from lamplan.robot import RobotSpec
from lamplan.views import view

HELD_OUT_SHARE = 0.1
FEW = 10  # episodes: of fewer, the held-out ones are not divided
FARTHEST = {"arm": 3, "mobile": 8}  # steps between here and a goal that proposals are made for: a plan's horizon
FARTHEST_GOAL = {"arm": 12, "mobile": 16}  # steps that a goal of the closed loop may be away: what a goal regression learns from
VALIDATE_EVERY = 50  # steps
PATIENCE = 60
"""Validations without a better one after which a fit ends. Many: the best come at the end, when the learning rate has fallen."""


@dataclass(frozen=True)
class Split:
    """Episodes, by number: those that are learned from, those that say when to stop, and those that the result is measured on."""

    training: list[int]
    validation: list[int]
    test: list[int]


def split(count: int) -> Split:
    """The last tenth of the episodes is measured on, the tenth before says when to stop (at least one each); of fewer than
    FEW episodes the last one does both."""
    held_out = max(1, round(count * HELD_OUT_SHARE))
    order, start = list(range(count)), count - held_out
    if count < FEW:
        return Split(order[:start], order[start:], order[start:])
    return Split(order[: start - held_out], order[start - held_out : start], order[start:])


def cross_splits(count: int, folds: int) -> list[Split]:
    """Every episode is measured on once: a split for each fold, which is held out, and another tenth to say when to stop."""
    if not 2 <= folds <= count or count < 3:
        raise InputError(f"{count} episodes cannot be held out in {folds} folds: give 2 folds or more, and at least 3 episodes and as many "
                         "as there are folds.")
    every = []
    for fold in range(folds):
        rest = [episode for episode in range(count) if episode % folds != fold]
        stops = max(1, round(len(rest) * HELD_OUT_SHARE))
        every.append(Split(rest[:-stops], rest[-stops:], list(range(fold, count, folds))))
    return every


@dataclass(frozen=True)
class Moments:
    """Encoded episodes: features (F, P, D) float16 of all their frames, one after the other, and the poses (T, S) of each episode
    (see `path_of`), none (0, S) of one that is left out."""

    features: Tensor
    paths: list[np.ndarray]


@dataclass(frozen=True)
class MotionPairs:
    """All N pairs of moments of some episodes that lie at most so many steps apart. The F frames are shared by all selections.

    features (F, P, D) float16; first and later (N,) rows of them; episode and gap (N,), the gap in steps; moved (N, A) the motion in
    between, in the robot's units.
    """

    features: Tensor
    first: Tensor
    later: Tensor
    episode: Tensor
    gap: Tensor
    moved: Tensor

    def __len__(self) -> int:
        return len(self.first)

    def frames(self, rows: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Features (B, P, D) of both moments."""
        return self.features[self.first[rows]].float(), self.features[self.later[rows]].float()

    def where(self, chosen: Tensor) -> Self:
        """The pairs (rows or a mask) that are chosen."""
        return replace(self, **{field.name: getattr(self, field.name)[chosen] for field in fields(self) if field.name != "features"})

    def of(self, episodes: Sequence[int]) -> Self:
        """Those of some episodes, by number. DataError where there are none, since nothing can be learned from or measured on them."""
        found = self.where(torch.isin(self.episode, torch.tensor(list(episodes), device=self.episode.device)))
        if not len(found):
            raise DataError(f"none of the {len(episodes)} episodes set apart to learn from, to say when to stop or to measure on has "
                            "pictures that can be read: mend those that are named above, or record more.")
        return found

    def at_most(self, count: int) -> Self:
        """So many of them, spread evenly."""
        # In float64: float32 knows no whole numbers beyond 2^24.
        return self.where(torch.linspace(0, len(self) - 1, min(count, len(self)), dtype=torch.float64).long().to(self.first.device))

    def usual(self) -> Tensor:
        """The mean motion (G + 1, A) over each number of steps, zero where there are no such pairs."""
        rows = int(self.gap.max()) + 1
        total = self.moved.new_zeros(rows, self.moved.shape[1]).index_add_(0, self.gap, self.moved)
        return total / torch.bincount(self.gap, minlength=rows).clamp_min(1)[:, None]

    def longest(self) -> Tensor:
        """Which pairs (N,) lie farthest apart in their episode: a whole plan's motion, or what a short episode has."""
        most = torch.zeros(int(self.episode.max()) + 1, dtype=self.gap.dtype, device=self.gap.device)
        most.scatter_reduce_(0, self.episode, self.gap, "amax")
        return self.gap == most[self.episode]


@dataclass(frozen=True)
class InferredPairs(MotionPairs):
    """Pairs with the latents (N, Z) that are inferred from their two frames."""

    latents: Tensor


def open_episodes(logs: Sequence[Path], spec: RobotSpec) -> list[Episode]:
    """The episodes of all logs, each checked to be of this robot."""
    episodes = episodes_of(logs, spec)
    if len(episodes) < 2:
        raise DataError(f"{', '.join(map(str, logs))} holds {len(episodes)} episode: at least 2 are needed, "
                        "one to fit to and one held out.")
    return episodes


@torch.no_grad()
def encode_moments(episodes: Sequence[Episode], lam: LatentActionModel, spec: RobotSpec, batch: int = 64) -> Moments:
    """Encodes the episodes' frames of the robot's camera, once: each episode in one of the views that a planner will read, by turns.

    One whose pictures turn out to be damaged is left out by the rule of `leave_out`, and keeps its number with a path of no poses.
    """
    device = lam.encoder.pixel_mean.device
    paths, features, begin = [path_of(episode, spec) for episode in episodes], torch.empty(0), 0
    refused: list[str] = []
    for number, episode in enumerate(tqdm(episodes, desc=f"encode {spec.camera}", unit="episode", dynamic_ncols=True)):
        end = begin
        try:
            for steps in np.split(np.arange(len(episode)), range(batch, len(episode), batch)):  # an hour's frames would fill the memory
                images = torch.from_numpy(np.ascontiguousarray(episode.frames(spec.camera, steps))).to(device)
                found = lam.encode(view(lam.sized(images), spec.kind, number)).half()
                if not len(features):  # in one piece: what is collected and then joined takes twice the memory
                    features = found.new_empty(sum(map(len, paths)), *found.shape[1:])
                features[end : end + len(found)] = found
                end += len(found)
            begin = end
        except DataError as error:
            refused.append(str(error))
            paths[number] = paths[number][:0]
    leave_out(refused, len(episodes))
    return Moments(features[:begin], paths)


def motion_pairs(moments: Moments, spec: RobotSpec, farthest: int) -> MotionPairs:
    """The pairs at most `farthest` steps apart. Motion is what the robot's `source` counts as its action, composed over the
    steps of a gap (see `path_of`)."""
    rows, begins = [], 0
    for number, path in enumerate(moments.paths):
        for gap in range(1, min(farthest, len(path) - 1) + 1):
            starts = np.arange(len(path) - gap)
            rows.append(np.stack([starts + begins, starts + begins + gap, np.full_like(starts, number), np.full_like(starts, gap)]))
        begins += len(path)
    device = moments.features.device
    first, later, episode_of, gaps = torch.from_numpy(np.concatenate(rows, axis=1)).to(device)
    poses = torch.from_numpy(np.concatenate(moments.paths)).to(device, torch.float64)
    return MotionPairs(moments.features, first, later, episode_of, gaps, spec.motion(poses[first], poses[later]).float())


@torch.no_grad()
def infer_pairs(pairs: MotionPairs, lam: LatentActionModel, batch: int = 64) -> InferredPairs:
    """The same pairs, with their latents."""
    # In one piece: small results kept between large activations scatter memory, by gigabytes.
    latents = torch.empty(len(pairs), lam.config.latent_dim, device=pairs.first.device)
    parts = torch.arange(len(pairs), device=pairs.first.device).split(batch)
    for rows in tqdm(parts, desc="infer latents", unit="batch", dynamic_ncols=True):
        latents[rows] = lam.infer(*pairs.frames(rows)).float()
    return InferredPairs(**{field.name: getattr(pairs, field.name) for field in fields(pairs)}, latents=latents)


def every_pair(episodes: Sequence[Episode], lam: LatentActionModel, spec: RobotSpec,
               precision: Precision) -> tuple[MotionPairs, InferredPairs]:
    """What a goal regression learns from, pairs up to FARTHEST_GOAL steps apart, and what a controller does: those of them that lie as near
    as a proposal's or as a latent knows them, with their latents. Encoded and inferred in a precision."""
    device = lam.encoder.pixel_mean.device
    with products(device, precision):
        moments = encode_moments(episodes, lam, spec)
    goals = motion_pairs(moments, spec, FARTHEST_GOAL[spec.kind])
    for part in vars(split(len(episodes))).values():
        goals.of(part)  # what was left out may have been all of it: better said now than after the training
    with products(device, precision):
        return goals, infer_pairs(goals.where(goals.gap <= max(FARTHEST[spec.kind], lam.config.max_stride)), lam)
