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
from lamplan.latent_planner import LEFT
from lamplan.rollout import Context, WorldModelDynamics

# An arm, whose straight lines add up, with room for what a search among latents makes of single steps.
ROBOT = replace(RobotSpec.load(Path(__file__).parent.parent / "controllers" / "panda"), low=np.full(7, -0.4), high=np.full(7, 0.4))
MIX = torch.tensor([[2.0, 0.0, 0.0], [0.0, 4.0, 1.0], [0.0, 0.0, 8.0]])  # motion = MIX^-1 (latent - 0.5)


class PointLAM:
    """One token whose three features are a place; a latent moves it."""

    encoder = SimpleNamespace(pixel_mean=torch.zeros(3))
    config = SimpleNamespace(encoder=SimpleNamespace(width=3))

    def encode(self, images: Tensor) -> Tensor:
        return images[..., 0, 0, :].float()[..., None, :] / 255

    def sized(self, images: Tensor) -> Tensor:
        return images

    def infer(self, s: Tensor, s_next: Tensor) -> Tensor:
        return (s_next - s)[:, 0] @ MIX.T + 0.5


class PointModel:
    config, patches = SimpleNamespace(depth=1, context=2, width=3), 1

    def step(self, s: Tensor, z: Tensor, past: Any) -> tuple[Tensor, Any]:
        return s + torch.linalg.solve(MIX, (z - 0.5)[..., None])[..., 0][:, None], None


class PointController:
    """Its way forward is exact; its way back says `share` of every motion."""

    latent_mean, latent_basis = torch.full((3,), 0.5), torch.diag(torch.tensor([0.4, 0.6, 0.8]))

    def __init__(self, share: float = 1.0) -> None:
        self.share = share

    def actions(self, s: Tensor, z: Tensor) -> Tensor:
        moved = torch.linalg.solve(MIX, (z[:, 0] - 0.5)[..., None])[..., 0]
        return pad(self.share * moved, (0, 4))[:, None]  # the hand neither turns nor closes

    def context(self, s: Tensor) -> Context:
        return ()

    def latents(self, context: Context, actions: Tensor) -> Tensor:
        return actions[..., :3] @ MIX.T + 0.5


def planner(latents: int, share: float = 1.0, **settings: Any) -> LatentPlanner:
    controller = PointController(share)
    dynamics = WorldModelDynamics(PointLAM(), PointModel(), controller)  # type: ignore[arg-type]
    return LatentPlanner(dynamics, controller, ROBOT, CEM(200, 10, 10, latents), stride=3 // latents, **settings)  # type: ignore[arg-type]


def image(*place: int) -> np.ndarray:
    return np.broadcast_to(np.array(place, np.uint8), (4, 4, 3))


@pytest.mark.parametrize("latents", [1, 3])
@pytest.mark.parametrize("proposals", [True, False])
def test_the_found_latents_become_the_motion_to_the_goal(latents: int, proposals: bool) -> None:
    plan = planner(latents, proposals=proposals).plan(image(100, 100, 100), image(130, 85, 110))
    assert plan.actions.shape == (3, 7) and len(plan.predicted) == latents
    np.testing.assert_allclose(plan.actions.sum(0), np.array([30, -15, 10, 0, 0, 0, 0]) / 255, atol=0.02)
    assert plan.cost < 1e-3 < plan.start_cost


@pytest.mark.parametrize("latents", [1, 3])
def test_a_translation_that_falls_short_is_mended_by_what_its_imagined_end_leaves(latents: int) -> None:
    way = np.array([30, -15, 10, 0, 0, 0, 0]) / 255
    plan = planner(latents, share=0.6).plan(image(100, 100, 100), image(130, 85, 110))
    # 0.6 of the way, and LEFT of the 0.6 that it sees of the 0.4 left.
    np.testing.assert_allclose(plan.actions.sum(0), (0.6 + LEFT * 0.6 * 0.4) * way, atol=0.01)


def test_the_answer_keeps_the_robots_limits() -> None:
    plan = planner(1).plan(image(0, 0, 0), image(255, 255, 255))
    assert (plan.actions <= ROBOT.high).all() and (plan.actions >= ROBOT.low).all()


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="knows no real actions"):
        planner(1).plan(image(1, 1, 1), image(2, 2, 2), constraint=lambda actions: actions.sum((2, 3)))


def test_a_translation_that_is_not_finite_never_reaches_the_robot() -> None:
    with pytest.raises(InputError, match="not finite"):
        planner(1, share=float("nan")).plan(image(100, 100, 100), image(130, 85, 110))


def test_a_running_action_is_a_real_one() -> None:
    running = np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    plan = planner(1).plan(image(100, 100, 100), image(150, 100, 100), running=running)
    np.testing.assert_allclose(plan.predicted[0, 0], np.full(3, 100 / 255) + running[:3], atol=1e-6)
    np.testing.assert_allclose(plan.actions.sum(0)[:3], [50 / 255, 0, 0], atol=0.02)
