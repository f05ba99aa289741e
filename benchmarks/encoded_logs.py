"""Robot logs seen once through the frozen encoder: what the action-labelled world model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lamplan.errors import DataError
from lamplan.lam import LatentActionModel
from lamplan.logs import Episode, episodes_of, path_of
from lamplan.robot import RobotSpec
from lamplan.train.labelled import split

BATCH = 64  # frames that are read and encoded together


@dataclass(frozen=True)
class EncodedEpisode:
    """Features (T, P, D) in half precision, and the actions (T-1, A) between them."""

    features: Tensor
    actions: Tensor


def encode_logs(paths: Sequence[Path], robot: RobotSpec, lam: LatentActionModel, device: str) -> list[EncodedEpisode]:
    """The episodes of the logs that are this robot's, at its rate."""
    return [_encode(episode, robot, lam, device) for episode in tqdm(episodes_of(paths, robot), desc="encode logs", unit="episode")]


def as_the_controller(episodes: list[EncodedEpisode]) -> tuple[list[EncodedEpisode], list[EncodedEpisode]]:
    """The episodes that `lamplan fit` learns from and those that say it when to stop: a rival knows as much as the controller."""
    if len(episodes) < 2:
        raise DataError(f"the logs hold {len(episodes)} episode(s); training a baseline and checking it needs at least 2.")
    parts = split(len(episodes))
    return [episodes[number] for number in parts.training], [episodes[number] for number in parts.validation]


def sample_clips(episodes: list[EncodedEpisode], batch: int, frames: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Clips of features (B, frames, P, D) and the actions (B, frames-1, A) between them."""
    long_enough = [episode for episode in episodes if len(episode.features) >= frames]
    if not long_enough:
        raise DataError(f"no episode of the logs has {frames} steps or more: record longer ones.")
    chosen = [long_enough[i] for i in rng.integers(len(long_enough), size=batch)]
    starts = [int(rng.integers(len(episode.features) - frames + 1)) for episode in chosen]
    clips = torch.stack([episode.features[start : start + frames] for episode, start in zip(chosen, starts, strict=True)])
    actions = torch.stack([episode.actions[start : start + frames - 1] for episode, start in zip(chosen, starts, strict=True)])
    return clips.float(), actions


@torch.inference_mode()
def _encode(episode: Episode, robot: RobotSpec, lam: LatentActionModel, device: str) -> EncodedEpisode:
    parts = np.split(np.arange(len(episode)), range(BATCH, len(episode), BATCH))  # an hour's frames would fill the memory
    features = torch.cat([lam.encode(torch.from_numpy(episode.frames(robot.camera, steps)).to(device)).half() for steps in parts])
    actions = torch.as_tensor(robot.differences(path_of(episode, robot)), dtype=torch.float32, device=device)
    return EncodedEpisode(features, actions)
