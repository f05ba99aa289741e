"""Planning over latents in a world where a latent is a motion told in another unit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from lamplan import CEM, InputError, LatentPlanner, RobotSpec

# An arm, whose straight lines add up, with room for what a search among latents makes of single steps.
ROBOT = replace(RobotSpec.load(Path(__file__).parent.parent / "controllers" / "panda"), low=np.full(7, -0.4), high=np.full(7, 0.4))
MIX = torch.tensor([[2.0, 0.0, 0.0], [0.0, 4.0, 1.0], [0.0, 0.0, 8.0]])  # motion = MIX^-1 (latent - 0.5)


class PointLAM:
    """One token whose three features are a place; a latent moves it."""

    encoder = SimpleNamespace(pixel_mean=torch.zeros(3))
    config = SimpleNamespace(encoder=SimpleNamespace(width=3))

    def encode(self, images: Tensor) -> Tensor:
        return images[..., 0, 0, :].float()[..., None, :] / 255

    def infer(self, s: Tensor, s_next: Tensor) -> Tensor:
        return (s_next - s)[:, 0] @ MIX.T + 0.5


class PointModel:
    config, patches = SimpleNamespace(depth=1, context=2, width=3), 1

    def step(self, s: Tensor, z: Tensor, past: Any) -> tuple[Tensor, Any]:
        return s + torch.linalg.solve(MIX, (z - 0.5)[..., None])[..., 0][:, None], None


class PointController:
    latent_mean, latent_basis = torch.full((3,), 0.5), torch.diag(torch.tensor([0.4, 0.6, 0.8]))

    def actions(self, s: Tensor, z: Tensor) -> Tensor:
        return pad(torch.linalg.solve(MIX, (z[:, 0] - 0.5)[..., None])[..., 0], (0, 4))[:, None]  # the hand neither turns nor closes


def planner(latents: int, **settings: Any) -> LatentPlanner:
    dynamics = SimpleNamespace(lam=PointLAM(), world_model=PointModel(), precision="fp32")
    return LatentPlanner(dynamics, PointController(), ROBOT, CEM(200, 10, 10, latents), stride=3 // latents, **settings)  # type: ignore[arg-type]


def image(*place: int) -> np.ndarray:
    return np.broadcast_to(np.array(place, np.uint8), (4, 4, 3))


@pytest.mark.parametrize("latents", [1, 3])
@pytest.mark.parametrize("proposals", [True, False])
def test_the_found_latents_become_the_motion_to_the_goal(latents: int, proposals: bool) -> None:
    plan = planner(latents, proposals=proposals).plan(image(100, 100, 100), image(130, 85, 110))
    assert plan.actions.shape == (3, 7) and len(plan.predicted) == latents
    np.testing.assert_allclose(plan.actions.sum(0), np.array([30, -15, 10, 0, 0, 0, 0]) / 255, atol=0.02)
    assert plan.cost < 1e-3 < plan.start_cost


def test_the_answer_keeps_the_robots_limits() -> None:
    plan = planner(1).plan(image(0, 0, 0), image(255, 255, 255))
    assert (plan.actions <= ROBOT.high).all() and (plan.actions >= ROBOT.low).all()


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="knows no real actions"):
        planner(1).plan(image(1, 1, 1), image(2, 2, 2), constraint=lambda actions: actions.sum((2, 3)))
