"""The way back from a latent to a robot's motion, on episodes whose features are the robot's own states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lamplan.models.controller import Controller, ControllerConfig
from lamplan.robot import RobotSpec
from lamplan.train.controller import LabelledFeatures, motion_error, proposal_errors

SPEC = RobotSpec.load(Path(__file__).parents[2] / "controllers" / "rover")


def episodes(count: int, steps: int) -> LabelledFeatures:
    rng = np.random.default_rng(0)
    states = [np.cumsum(rng.normal(0, 0.2, (steps, 3)), axis=0) for _ in range(count)]
    features = [torch.from_numpy(s).float()[:, None] for s in states]
    return LabelledFeatures(features, states, [torch.from_numpy(SPEC.differences(s)).float() for s in states])


class Seer:
    """Stands for a latent action model whose latent is the motion itself."""

    def infer(self, s: Tensor, s_next: Tensor) -> Tensor:
        pairs = torch.stack([s[:, 0], s_next[:, 0]], dim=1).double().numpy()
        return torch.from_numpy(np.concatenate([SPEC.differences(pair) for pair in pairs])).float()


def test_pairs_lie_within_reach_and_know_the_motion_between_them() -> None:
    now, later, moved = episodes(3, 12).pairs(200, 4, np.random.default_rng(1), SPEC)
    torch.testing.assert_close(moved, Seer().infer(now, later), rtol=1e-4, atol=1e-5)
    assert (now != later).any(dim=-1).all()


def test_an_episode_shorter_than_the_farthest_goal_still_gives_pairs() -> None:
    assert len(episodes(2, 3).pairs(20, 8, np.random.default_rng(1), SPEC)[0]) == 20


def test_the_way_back_is_learned_and_its_error_is_a_share_of_the_motion() -> None:
    torch.manual_seed(0)
    controller, data, lam = Controller(ControllerConfig(24, 1, 2), 3, 1, 3, 3), episodes(8, 12), Seer()
    checks = data.pairs(100, 4, np.random.default_rng(2), SPEC)
    before = motion_error(lam, controller, checks)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(controller.parameters(), 3e-3)
    for step in range(150):
        now, later, moved = data.pairs(32, 4, np.random.default_rng((3, step)), SPEC)
        loss = (controller.actions(now, lam.infer(now, later)[:, None])[:, 0] - moved).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert motion_error(lam, controller, checks) < 0.1 < before  # type: ignore[arg-type]
    assert proposal_errors(lam, controller, checks).shape == (100, 3)  # type: ignore[arg-type]
