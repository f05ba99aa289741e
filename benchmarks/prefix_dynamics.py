"""Imagining the way the published planners of this family do: the reference that a faster rollout is measured against."""

from __future__ import annotations

import torch
from torch import Tensor

from lamplan.errors import InputError
from lamplan.precision import products
from lamplan.rollout import ActionMap, Past, WorldModelDynamics


class PrefixDynamics(WorldModelDynamics):
    """Every step runs the world model over the whole prefix again, and every candidate owns a copy of the past.

    That is how V-JEPA 2-AC, JEPA-WMs and DINO-WM roll out (one episode at a time, all candidates in one batch); the numbers are
    those of the cached rollout. With `bf16` the products are in bf16 under autocast, as they would be on a GPU.
    """

    def __init__(self, inner: WorldModelDynamics, bf16: bool = False) -> None:
        super().__init__(inner.lam, inner.world_model, inner.action_map)
        self.bf16 = bf16

    def start(self, frames: Tensor) -> Past:
        """The shared past is the frames themselves: this planner keeps nothing else."""
        self.frames = frames
        return Past(frames[:, -1], None)

    def after(self, past: Past, action: Tensor) -> Past:
        raise InputError("the reference planner begins at what is seen, not at what a running action will lead to.")

    def rollout(self, past: Past, actions: Tensor) -> Tensor:
        with products(past.present.device, "bf16" if self.bf16 else "fp32"):
            return torch.stack([self._episode(self.frames[b], actions[b]) for b in range(len(actions))]).float()

    def _episode(self, frames: Tensor, actions: Tensor) -> Tensor:
        candidates, earlier = len(actions), len(frames) - 1
        seen = frames.expand(candidates, *frames.shape).clone()
        told = [self.past_condition(frames[None, t], frames[None, t + 1]).expand(candidates, -1) for t in range(earlier)]
        for h in range(actions.shape[1]):
            told.append(one_by_one(self.action_map, seen[:, -1], actions[:, h]))
            s_next = self.world_model(seen, torch.stack(told, dim=1))[:, -1]
            seen = torch.cat([seen, s_next[:, None].to(seen.dtype)], dim=1)
        return seen[:, earlier + 1 :]


def one_by_one(action_map: ActionMap, s: Tensor, actions: Tensor) -> Tensor:
    """Latents (N, Z) of one action (N, A) from each of N frames (N, P, D)."""
    return action_map.latents(action_map.context(s), actions[:, None])[:, 0]
