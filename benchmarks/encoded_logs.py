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
from lamplan.logs import Episode, episodes_of
from lamplan.robot import RobotSpec


@dataclass(frozen=True)
class EncodedEpisode:
    """Features (T, P, D) in half precision, states (T, S) and the measured actions (T-1, A) between them."""

    features: Tensor
    states: np.ndarray
    actions: Tensor


def encode_logs(paths: Sequence[Path], robot: RobotSpec, lam: LatentActionModel, device: str) -> list[EncodedEpisode]:
    """The episodes of the logs that are this robot's, at its rate."""
    return [_encode(episode, robot, lam, device) for episode in tqdm(episodes_of(paths, robot), desc="encode logs", unit="episode")]


def split(episodes: list[EncodedEpisode], share: float = 0.1) -> tuple[list[EncodedEpisode], list[EncodedEpisode]]:
    """Training episodes and held-out ones, which are the last `share` of the log but at least one."""
    held_out = max(1, round(share * len(episodes)))
    if len(episodes) <= held_out:
        raise DataError(f"the logs hold {len(episodes)} episode(s); training a baseline and checking it needs at least 2.")
    return episodes[:-held_out], episodes[-held_out:]


def sample_clips(episodes: list[EncodedEpisode], batch: int, frames: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Clips of features (B, frames, P, D) and the actions (B, frames-1, A) between them."""
    long_enough = [episode for episode in episodes if len(episode.states) >= frames]
    if not long_enough:
        raise DataError(f"no episode of the logs has {frames} steps or more: record longer ones.")
    chosen = [long_enough[i] for i in rng.integers(len(long_enough), size=batch)]
    starts = [int(rng.integers(len(episode.states) - frames + 1)) for episode in chosen]
    clips = torch.stack([episode.features[start : start + frames] for episode, start in zip(chosen, starts, strict=True)])
    actions = torch.stack([episode.actions[start : start + frames - 1] for episode, start in zip(chosen, starts, strict=True)])
    return clips.float(), actions


@torch.inference_mode()
def _encode(episode: Episode, robot: RobotSpec, lam: LatentActionModel, device: str) -> EncodedEpisode:
    images = torch.from_numpy(episode.frames(robot.camera)).to(device)
    features = torch.cat([lam.encode(part) for part in images.split(64)]).half()
    actions = torch.as_tensor(robot.differences(episode.states), dtype=torch.float32, device=device)
    return EncodedEpisode(features, episode.states, actions)
