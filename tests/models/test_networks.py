"""The networks: shapes, causality, and what they must be at the start."""

from __future__ import annotations

import dataclasses
import functools
import shutil

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import flex_attention

from benchmarks.latency import PAPER
from lamplan.costs import GoalCost, Goals
from lamplan.errors import InputError
from lamplan.lam import LAMConfig, LatentActionModel, resize
from lamplan.latents import NoisyBottleneck, NoisyConfig
from lamplan.models import frame_causal as frame_causal_module
from lamplan.models.compiled import compile_rollout
from lamplan.models.controller import Controller, ControllerConfig
from lamplan.models.encoder import Encoder, EncoderConfig
from lamplan.models.frame_causal import Frames, frame_causal
from lamplan.models.inverse_dynamics import InverseDynamicsConfig
from lamplan.models.layers import Attention, Block, attend, attend_also, grid_positions, rope_tables, rotate
from lamplan.models.masked import MaskedConfig, MaskedPrediction
from lamplan.models.world_model import WorldModel, WorldModelConfig
from lamplan.precision import Precision
from lamplan.rollout import LatentDynamics, Past, costs_of
from tests.live_memory import peak_bytes

ENCODER = EncoderConfig(image_size=32, patch=8, width=24, depth=2, heads=2)
LAM = LAMConfig(bottleneck=NoisyConfig(dim=8), encoder=ENCODER, inverse_dynamics=InverseDynamicsConfig(width=24, depth=1, heads=2),
                world_model=WorldModelConfig(width=24, depth=2, heads=2, context=3, max_frames=8))


def scrambled(module: nn.Module) -> nn.Module:
    """The module with no weight at zero, so that nothing hides behind a zero gate."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.eval()


def images(*lead: int) -> Tensor:
    return torch.randint(0, 256, (*lead, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_rope_attention_depends_on_relative_positions_alone() -> None:
    attention = scrambled(Attention(24, 2))
    x = torch.randn(1, 9, 24)
    here, there = (attention(x, rope_tables(grid_positions(1, 3, first), 12))[0] for first in (0, 5))
    torch.testing.assert_close(here, there)


def test_rotation_turns_every_pair_by_its_tokens_angle() -> None:
    x, angles = torch.randn(2, 3, 9, 12), torch.randn(9, 6)
    turned = torch.view_as_complex(torch.stack(x.chunk(2, dim=-1), dim=-1).contiguous()) * torch.polar(torch.ones(9, 6), angles)
    torch.testing.assert_close(rotate(x, (angles.cos(), angles.sin())), torch.cat([turned.real, turned.imag], dim=-1))


@pytest.mark.parametrize("tokens", [7, 700])  # few, and more than are attended to by products
@pytest.mark.parametrize("masked", [False, True])
def test_attention_in_bf16_is_that_in_fp32_but_for_its_rounding(tokens: int, masked: bool) -> None:
    q, k, v = (torch.randn(3, 2, tokens, 8) for _ in range(3))
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril() if masked else None
    found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask)
    torch.testing.assert_close(found.float(), attend(q, k, v, mask), rtol=0.02, atol=0.03)


@pytest.mark.parametrize("context", [1, 2, 5])
@pytest.mark.parametrize("patches", [4, 128])
def test_frames_see_the_same_however_it_is_said(patches: int, context: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, device = 5, torch.device("cpu")
    q, k, v = (torch.randn(2, 2, frames * patches, 16) for _ in range(3))
    said = {"frames": Frames(patches, context), "blocks": frame_causal_module._blocks(frames, patches, context, device)}
    monkeypatch.setattr(frame_causal_module, "FEW_SCORES", 10**9)
    monkeypatch.setattr(frame_causal_module, "_fused", lambda: flex_attention)  # which computes the same without a compiler
    mask = frame_causal(frames, patches, context, device)
    assert isinstance(mask, torch.Tensor)
    expected = attend(q, k, v, mask)
    for name, seen in said.items():
        torch.testing.assert_close(attend(q, k, v, seen), expected, msg=lambda text, name=name: f"{name}: {text}")


def test_a_long_clip_is_attended_to_without_a_mask() -> None:
    assert frame_causal(1, 1024, 1, torch.device("cpu")) is None
    assert isinstance(frame_causal(8, 64, 2, torch.device("cpu")), torch.Tensor)
    assert frame_causal(16, 64, 2, torch.device("cpu")) == Frames(64, 2)


def test_patchify_keeps_every_pixel_in_its_patch() -> None:
    encoder = Encoder(ENCODER)
    picture = images(1)
    patches = encoder.patchify(picture)
    assert patches.shape == (1, 16, 192)
    expected = (picture[0, 8:16, 16:24].float() - encoder.pixel_mean) / encoder.pixel_std
    torch.testing.assert_close(patches[0, 1 * 4 + 2], expected.flatten())


def test_encoder_of_kept_patches_sees_their_true_places() -> None:
    encoder = scrambled(Encoder(ENCODER))
    pixels = encoder.patchify(images(2))
    order = torch.stack([torch.randperm(16), torch.randperm(16)])
    every = encoder.tokens(pixels)
    torch.testing.assert_close(encoder.tokens(pixels, order), every.gather(1, order[..., None].expand_as(every)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("edge", [32, 48])
def test_a_single_image_is_encoded_as_one_of_several(edge: int) -> None:
    lam = scrambled(LatentActionModel(LAM))
    pictures = torch.randint(0, 256, (2, 3, edge, edge, 3), dtype=torch.uint8)
    every = lam.encode(pictures)  # type: ignore[operator]
    assert every.shape == (2, 3, 16, 24)
    torch.testing.assert_close(lam.encode(pictures[1, 2]), every[1, 2], rtol=1e-4, atol=1e-5)  # type: ignore[operator]


def test_an_untrained_world_model_copies_the_last_frame() -> None:
    s = torch.randn(2, 3, 16, 24)
    torch.testing.assert_close(WorldModel(LAM.world_model, 24, 4, 8)(s, torch.randn(2, 3, 8)), s)


def test_world_model_is_causal() -> None:
    model = scrambled(WorldModel(LAM.world_model, 24, 4, 8))
    s, z = torch.randn(1, 4, 16, 24), torch.randn(1, 4, 8)
    before = model(s, z)
    s[:, 2] += 1
    z[:, 3] += 1
    after = model(s, z)
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert (before[:, 2] - after[:, 2]).abs().max() > 1e-3


def test_steps_with_kept_keys_equal_teacher_forcing() -> None:
    model = scrambled(WorldModel(LAM.world_model, 24, 4, 8))
    s, z = torch.randn(3, 4, 16, 24), torch.randn(3, 4, 8)
    whole, past = model(s, z), None
    for t in range(4):
        one, past = model.step(s[:, t], z[:, t], past)
        torch.testing.assert_close(one, whole[:, t], rtol=1e-4, atol=1e-5)


def test_more_frames_than_there_are_positions_get_a_sentence() -> None:
    model, s, z = WorldModel(LAM.world_model, 24, 4, 8), torch.randn(1, 9, 16, 24), torch.randn(1, 9, 8)
    for work in (model, lambda s, z: model.imagine(s[:, 0], z)):
        assert work(s[:, :8], z[:, :8]).shape == (1, 8, 16, 24)
        with pytest.raises(InputError, match="has positions for 8 frames"):
            work(s, z)


@pytest.mark.parametrize("gradient", [False, True])
def test_attention_to_what_rows_share_equals_attention_to_copies(gradient: bool) -> None:
    q, k, v = (torch.randn(6, 2, 5, 8, requires_grad=gradient) for _ in range(3))
    shared = torch.randn(3, 2, 7, 8), torch.randn(3, 2, 7, 8)  # two rows for each
    copies = [torch.cat([part.repeat_interleave(2, dim=0), own], dim=2) for part, own in zip(shared, (k, v), strict=True)]
    with torch.set_grad_enabled(gradient):
        found, expected = attend_also(q, (k, v), shared), F.scaled_dot_product_attention(q, *copies)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    rounded = attend_also(q.bfloat16(), (k.bfloat16(), v.bfloat16()), (shared[0].bfloat16(), shared[1].bfloat16()))
    torch.testing.assert_close(rounded.float(), expected, rtol=0.02, atol=0.03)
    if gradient:
        for mine, theirs in zip(torch.autograd.grad(found.square().sum(), (q, k, v)),
                                torch.autograd.grad(expected.square().sum(), (q, k, v)), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_rollout_with_shared_past_equals_plain_recomputation() -> None:
    lam = scrambled(LatentActionModel(LAM))
    assert isinstance(lam, LatentActionModel)
    controller = scrambled(Controller(ControllerConfig(width=24, depth=1, heads=2), 24, 4, 3, 8))
    assert isinstance(controller, Controller)
    dynamics = LatentDynamics(lam, controller)
    frames, actions = torch.randn(2, 3, 16, 24), torch.randn(2, 5, 2, 3)
    with torch.inference_mode():
        fast = dynamics.rollout(dynamics.start(frames), actions)
        for b in range(2):
            for n in range(5):
                seen = frames[b : b + 1]
                z = [lam.infer(seen[:, t], seen[:, t + 1]) for t in range(2)]
                for h in range(2):
                    z.append(controller(seen[:, -1], actions[b, n, h][None]))
                    following = lam.predict(seen, torch.stack(z, dim=1))
                    torch.testing.assert_close(fast[b, n, h], following[0], rtol=1e-4, atol=1e-4)
                    seen = torch.cat([seen, following[:, None]], dim=1)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_rollout_in_bf16_is_that_in_fp32_within_two_percent_of_the_motion(frames: int) -> None:
    lam = scrambled(LatentActionModel(LAM))
    controller = scrambled(Controller(ControllerConfig(width=24, depth=1, heads=2), 24, 4, 3, 8))
    exact, quick = (LatentDynamics(lam, controller, precision) for precision in ("fp32", "bf16"))  # type: ignore[arg-type]
    seen, actions = torch.randn(2, frames, 16, 24), torch.randn(2, 5, 3, 3)
    with torch.no_grad():
        expected, found = (dynamics.rollout(dynamics.start(seen), actions) for dynamics in (exact, quick))
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    assert (found - expected).norm() < 0.02 * (expected - seen[:, -1, None, None]).norm()
    assert next(lam.parameters()).dtype == next(controller.parameters()).dtype == torch.float32  # the model itself is left alone
    with pytest.raises(InputError, match="fp32 or bf16; found 'fp8'"):
        LatentDynamics(lam, controller, "fp8")  # type: ignore[arg-type]


@pytest.mark.parametrize("frames", [1, 3])
def test_a_past_is_taken_apart_and_joined(frames: int) -> None:
    lam = scrambled(LatentActionModel(LAM))
    controller = scrambled(Controller(ControllerConfig(width=24, depth=1, heads=2), 24, 4, 3, 8))
    dynamics = LatentDynamics(lam, controller)  # type: ignore[arg-type]
    past, actions = dynamics.start(torch.randn(2, frames, 16, 24)), torch.randn(2, 5, 3, 3)
    shape, tensors = past.apart()
    hash(shape)
    torch.testing.assert_close(dynamics.rollout(Past.joined(shape, tensors), actions), dynamics.rollout(past, actions), rtol=0, atol=0)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_compiled_rollout_is_the_same(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # All of torch.compile but its last stage, the compiler of kernels, which takes a minute.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    lam = scrambled(LatentActionModel(LAM))
    controller = scrambled(Controller(ControllerConfig(width=24, depth=1, heads=2), 24, 4, 3, 8))
    plain, fast = (LatentDynamics(lam, controller, compile=compiled) for compiled in (False, True))  # type: ignore[arg-type]
    seen, actions = torch.randn(2, frames, 16, 24), torch.randn(2, 5, 3, 3)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch.no_grad():
        expected, found = (dynamics.rollout(dynamics.start(seen), actions) for dynamics in (plain, fast))
    torch.testing.assert_close(found, expected)
    # Weights that are constants belong to one block, so the world model's two and the controller's each have their own: without a past or
    # after a shared one; with own frames, too; with own frames alone.
    assert 0 < torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2 * 3 + 1


@pytest.mark.skipif(not torch.backends.mkldnn.is_available() or shutil.which("g++") is None, reason="needs oneDNN and a C++ compiler")
def test_compiled_blocks_have_their_weights_laid_out_for_a_cpus_products() -> None:
    torch.manual_seed(0)
    network = nn.Module()
    network.blocks = blocks = nn.ModuleList(Block(32, 2) for _ in range(2)).to(torch.bfloat16).requires_grad_(False)
    x, rope = torch.randn(3, 16, 32).bfloat16(), rope_tables(grid_positions(1, 4), 16)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch.inference_mode():
        expected = [block(x, rope) for block in blocks]
        compile_rollout(network, frozen=True)
        for _ in range(2):
            for block, plain in zip(blocks, expected, strict=True):
                torch.testing.assert_close(block(x, rope), plain, rtol=0.02, atol=0.02)
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # Two blocks of four products each.
        assert torch._dynamo.utils.counters["inductor"]["mkldnn_linear_weight_pack_matcher_count"] == 8


def test_a_rollout_is_what_teacher_forcing_says_of_the_same_frames() -> None:
    model = scrambled(WorldModel(LAM.world_model, 24, 4, 8))
    start, actions = torch.randn(2, 16, 24), torch.randn(2, 5, 8)
    with torch.inference_mode():
        imagined = model.imagine(start, actions)  # type: ignore[operator]
        seen = torch.cat([start[:, None], imagined[:, :-1]], dim=1)
        torch.testing.assert_close(model(seen, actions), imagined, rtol=1e-4, atol=1e-4)


def test_costs_do_not_depend_on_the_chunk() -> None:
    lam = scrambled(LatentActionModel(LAM))
    controller = scrambled(Controller(ControllerConfig(width=24, depth=1, heads=2), 24, 4, 3, 8))
    dynamics = LatentDynamics(lam, controller)  # type: ignore[arg-type]
    past, goals, actions = dynamics.start(torch.randn(3, 2, 16, 24)), Goals(torch.randn(3, 1, 16, 24)), torch.randn(3, 7, 2, 3)

    def costs(in_flight: int) -> Tensor:
        return costs_of(dynamics, past, actions, lambda frames, pick: GoalCost()(frames, goals.episodes(pick)), in_flight)

    with torch.inference_mode():
        whole = torch.cat([GoalCost()(dynamics.rollout(past.episodes(slice(b, b + 1)), actions[b : b + 1]),
                                      goals.episodes(slice(b, b + 1))) for b in range(3)])
        for in_flight in (1, 2, 5, 8, 100):
            torch.testing.assert_close(costs(in_flight), whole)


def test_controller_answers_many_actions_as_it_answers_each() -> None:
    controller = scrambled(Controller(ControllerConfig(width=24, depth=1, heads=2), 24, 4, 3, 8))
    s, actions = torch.randn(2, 16, 24), torch.randn(2, 5, 3)
    many = controller.latents(controller.context(s), actions)  # type: ignore[operator]
    torch.testing.assert_close(many[:, 3], controller(s, actions[:, 3]), rtol=1e-4, atol=1e-5)


def test_motions_of_many_latents_are_those_of_each() -> None:
    controller = scrambled(Controller(ControllerConfig(width=24, depth=1, heads=2), 24, 4, 3, 8))
    s, latents = torch.randn(2, 16, 24), torch.randn(2, 5, 8)
    many = controller.actions(s, latents)  # type: ignore[operator]
    assert many.shape == (2, 5, 3)
    torch.testing.assert_close(many[:, 3:4], controller.actions(s, latents[:, 3:4]), rtol=1e-4, atol=1e-5)  # type: ignore[operator]


def test_noisy_bottleneck_prices_a_standard_normal_at_zero_nats() -> None:
    bottleneck = NoisyBottleneck(NoisyConfig(dim=4))
    assert bottleneck.sample(torch.zeros(10, 8)).nats.item() == 0
    mean, log_variance = torch.full((10, 4), 2.0), torch.full((10, 4), -3.0)
    reference = torch.distributions.kl_divergence(torch.distributions.Normal(mean, (log_variance / 2).exp()),
                                                  torch.distributions.Normal(0.0, 1.0)).sum(-1).mean()
    torch.testing.assert_close(bottleneck.sample(torch.cat([mean, log_variance], dim=-1)).nats, reference)


def test_gradients_reach_every_part_of_the_model() -> None:
    lam = scrambled(LatentActionModel(LAM))
    loss, _ = lam.loss(torch.randn(4, 3, 16, 24))  # type: ignore[operator]
    loss.backward()
    for name, parameter in lam.named_parameters():
        if not name.startswith("encoder."):
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("target", ["features", "pixels"])
def test_masked_prediction_learns_and_its_target_follows_slowly(target: str) -> None:
    torch.manual_seed(0)
    module = MaskedPrediction(Encoder(ENCODER), MaskedConfig(target=target, width=24, depth=1, heads=2, ema=0.9))  # type: ignore[arg-type]
    pair = images(4, 2)
    optimiser = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 3e-3)
    values = []
    for _ in range(40):
        loss, _ = module.loss(pair)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        module.update_target()
        values.append(loss.item())
    assert sum(values[-5:]) < 0.9 * sum(values[:5])
    if module.teacher is not None:
        apart = sum((a - b).abs().sum() for a, b in zip(module.teacher.parameters(), module.encoder.parameters(), strict=True))
        assert apart > 0


def test_images_of_another_size_are_cropped_and_resized() -> None:
    lam = scrambled(LatentActionModel(LAM))
    wide = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    wide[:, :, 16:80] = 200  # the central square
    assert resize(wide, 32).unique().tolist() == [200]
    with torch.inference_mode():
        assert lam.encode(wide).shape == (1, 16, 24)  # type: ignore[operator]


def small() -> LatentDynamics:
    controller = scrambled(Controller(ControllerConfig(width=24, depth=1, heads=2), 24, 4, 3, 8))
    return LatentDynamics(scrambled(LatentActionModel(LAM)).requires_grad_(False), controller.requires_grad_(False))  # type: ignore[arg-type]


@pytest.mark.parametrize("in_flight", [1, 2, 7, 14, 99])
def test_the_slope_of_costs_does_not_depend_on_the_chunk(in_flight: int) -> None:
    dynamics = small()
    past, goals = dynamics.start(torch.randn(2, 2, 16, 24)), Goals(torch.randn(2, 1, 16, 24))
    actions = torch.randn(2, 7, 2, 3).requires_grad_()

    def judge(frames: Tensor, pick: slice) -> Tensor:
        return GoalCost()(frames, goals.episodes(pick))

    expected = torch.stack([judge(dynamics.rollout(past, actions[:, n : n + 1]), slice(0, 2))[:, 0] for n in range(7)], dim=1)
    found = costs_of(dynamics, past, actions, judge, in_flight)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    slopes = [torch.autograd.grad(costs.square().sum(), actions)[0] for costs in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-5)


def test_slopes_are_found_portion_by_portion_so_that_memory_and_graphs_are_free_again() -> None:
    dynamics = small()
    past, actions = dynamics.start(torch.randn(1, 1, 16, 24)), torch.randn(1, 16, 2, 3).requires_grad_()

    def peak(in_flight: int) -> int:
        def slope() -> None:
            costs = costs_of(dynamics, past, actions, lambda frames, pick: frames.square().mean((-1, -2)).sum(-1), in_flight)
            torch.autograd.grad(costs.sum(), actions)

        return peak_bytes(slope)

    assert peak(2) < 0.2 * peak(16)


@pytest.mark.parametrize("slope", [False, True])
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_candidates_take_about_as_much_memory_as_is_planned(precision: Precision, horizon: int, slope: bool) -> None:
    with torch.device("meta"):  # a ViT-L, of which nothing is computed
        lam = LatentActionModel(PAPER).eval().requires_grad_(False)
        controller = Controller(ControllerConfig(width=1024, depth=2, heads=16), 1024, 16, 3, 128).eval().requires_grad_(False)
        dynamics, few = LatentDynamics(lam, controller, precision), 8  # type: ignore[arg-type]
        with torch.no_grad():
            past, actions = dynamics.start(torch.zeros(1, 2, 256, 1024)), torch.zeros(1, few, horizon, 3)

        def work() -> None:
            if slope:
                tracked = actions.clone().requires_grad_()
                torch.autograd.grad(dynamics.rollout(past, tracked).square().sum(), tracked)
            else:
                with torch.no_grad():
                    dynamics.rollout(past, actions)

        assert 0.6 < peak_bytes(work) / few / dynamics.candidate_bytes(horizon, slope) < 1.15


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_what_follows_a_running_action_is_what_a_rollout_imagines_of_it(frames: int) -> None:
    dynamics = small()
    with torch.no_grad():
        past, actions = dynamics.start(torch.randn(2, frames, 16, 24)), torch.randn(2, 3, 3)
        whole = dynamics.rollout(past, actions[:, None])[:, 0]
        after = dynamics.after(past, actions[:, 0])
        torch.testing.assert_close(after.present, whole[:, 0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(dynamics.rollout(after, actions[:, None, 1:])[:, 0], whole[:, 1:], rtol=1e-4, atol=1e-4)


def test_of_a_long_history_the_frames_that_the_model_learned_to_look_back_on_are_looked_at() -> None:
    dynamics, frames, actions = small(), torch.randn(1, 20, 16, 24), torch.randn(1, 4, 2, 3)
    with torch.no_grad():
        long, short = (dynamics.rollout(dynamics.start(seen), actions) for seen in (frames, frames[:, -3:]))
        assert torch.equal(long, short)
        assert not torch.equal(short, dynamics.rollout(dynamics.start(frames[:, -2:]), actions))
        with pytest.raises(InputError, match="plan over fewer steps"):
            dynamics.rollout(dynamics.start(frames), torch.randn(1, 2, 9, 3))
    pictures = images(1, 20)
    assert torch.equal(dynamics.trimmed(pictures), pictures[:, -3:])
    assert dynamics.trimmed(torch.zeros(2, 5, 48, 64, 3, dtype=torch.uint8)).shape == (2, 3, 32, 32, 3)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of patch"):
        Encoder(dataclasses.replace(ENCODER, image_size=30))
    with pytest.raises(InputError, match="positions for 8 frames"):
        model, past = WorldModel(LAM.world_model, 24, 4, 8), None
        for _ in range(9):
            _, past = model.step(torch.randn(1, 16, 24), torch.randn(1, 8), past)
