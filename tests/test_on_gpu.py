"""What only an accelerator does: its fused kernels, compiled blocks, and plans on it."""

from __future__ import annotations

import copy

import pytest
import torch

from lamplan.lam import LAMConfig, LatentActionModel
from lamplan.latents import NoisyConfig
from lamplan.models.controller import Controller, ControllerConfig
from lamplan.models.encoder import EncoderConfig
from lamplan.models.frame_causal import Frames, by_blocks, by_frames, frame_causal
from lamplan.models.inverse_dynamics import InverseDynamicsConfig
from lamplan.models.plain import plainly
from lamplan.models.world_model import WorldModelConfig
from lamplan.rollout import LatentDynamics, costs_of

pytestmark = pytest.mark.gpu

LAM = LAMConfig(encoder=EncoderConfig(image_size=128, patch=16, width=128, depth=1, heads=2), bottleneck=NoisyConfig(dim=16),
                inverse_dynamics=InverseDynamicsConfig(width=128, depth=1, heads=2),
                world_model=WorldModelConfig(width=128, depth=2, heads=2, context=2, max_frames=16))


@pytest.fixture(scope="module")
def models() -> tuple[LatentActionModel, Controller]:
    torch.manual_seed(0)
    lam, controller = LatentActionModel(LAM), Controller(ControllerConfig(width=64, depth=1, heads=2), 128, 8, 3, 16)
    for parameter in [*lam.parameters(), *controller.parameters()]:
        torch.nn.init.normal_(parameter, std=0.1)
    return lam.eval().requires_grad_(False), controller.eval().requires_grad_(False)


@pytest.mark.parametrize(("frames", "patches", "context"), [(16, 64, 2), (15, 256, 16)])
def test_fused_attention_to_frames_is_that_frame_by_frame(frames: int, patches: int, context: int) -> None:
    device = torch.device("cuda")
    seen = frame_causal(frames, patches, context, device)
    found, expected = (torch.randn(3, 2, 2, frames * patches, 64, device=device) for _ in range(2))
    expected.copy_(found)
    slopes = []
    outputs = []
    for inputs, attention, said in ((found, by_blocks, seen), (expected, by_frames, Frames(patches, context))):
        q, k, v = inputs.bfloat16().requires_grad_().unbind()
        out = attention(q, k, v, said)  # type: ignore[operator]
        outputs.append(out.float())
        slopes.append(torch.stack(torch.autograd.grad(out.float().square().sum(), (q, k, v))).float())
    torch.testing.assert_close(*outputs, rtol=0.02, atol=0.02)
    assert (slopes[0] - slopes[1]).norm() < 0.02 * slopes[1].norm()


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("compiled", [False, True])
def test_rollouts_in_bf16_are_those_of_the_cpu(models: tuple[LatentActionModel, Controller], frames: int, compiled: bool) -> None:
    seen, actions = torch.randn(2, frames, 64, 128), torch.randn(2, 5, 3, 3)
    there = [copy.deepcopy(model).to("cuda") for model in models]
    with torch.no_grad():
        exact = LatentDynamics(*models)
        expected = exact.rollout(exact.start(seen), actions)
        quick = LatentDynamics(*there, precision="bf16", compile=compiled)  # type: ignore[arg-type]
        found = quick.rollout(quick.start(seen.cuda()), actions.cuda()).cpu()
    assert (found - expected).norm() < 0.03 * (expected - seen[:, -1, None, None]).norm()


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("slope", [False, True])
def test_few_candidates_are_replayed_with_new_values(models: tuple[LatentActionModel, Controller], frames: int, slope: bool) -> None:
    there = [copy.deepcopy(model).to("cuda") for model in models]
    replaying = LatentDynamics(*there)  # type: ignore[arg-type]
    for _ in range(4):  # the first is computed, the second captured
        seen, actions = torch.randn(1, frames, 64, 128, device="cuda"), torch.randn(1, 2, 2, 3, device="cuda", requires_grad=slope)
        with torch.no_grad():
            past = replaying.start(seen)
        found = []
        with torch.set_grad_enabled(slope):
            for rollout in (replaying.rollout, replaying._imagine):
                imagined = rollout(past, actions)
                found.append((imagined, torch.autograd.grad(imagined.square().sum(), actions)[0] if slope else imagined))
        for replayed, plain in zip(*found, strict=True):
            torch.testing.assert_close(replayed, plain, rtol=1e-3, atol=1e-3)
    assert any(graph is not None for graph in replaying._graphs._captured.values())


def test_teacher_forcing_over_many_frames_is_that_of_the_cpu(models: tuple[LatentActionModel, Controller]) -> None:
    seen, actions = torch.randn(2, 15, 64, 128), torch.randn(2, 15, 16)
    world_model = models[0].world_model
    with torch.no_grad():
        expected = world_model(seen, actions)
        found = copy.deepcopy(world_model).cuda()(seen.cuda(), actions.cuda()).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_slopes_of_portions_that_share_a_graph_are_their_own(models: tuple[LatentActionModel, Controller]) -> None:
    dynamics = LatentDynamics(*(copy.deepcopy(part).cuda() for part in models))  # type: ignore[arg-type]
    actions = (0.1 * torch.randn(1, 8, 2, 3, device="cuda")).requires_grad_()
    with torch.no_grad():
        past = dynamics.start(torch.randn(1, 1, 64, 128, device="cuda"))

    def slope(in_flight: int) -> torch.Tensor:
        costs = costs_of(dynamics, past, actions, lambda frames, pick: frames.square().mean((-1, -2)).sum(-1), in_flight)
        return torch.autograd.grad(costs.sum(), actions)[0]

    with plainly():  # without graphs
        expected = slope(8)
    for _ in range(3):
        found = slope(2)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
