"""What every bottleneck promises, and each one's formula against an independent reckoning."""

from __future__ import annotations

import math
import os
import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from lamplan import CheckpointError, InputError, LatentActionModel
from lamplan.lam import LAMConfig
from lamplan.latents import BottleneckConfig, DiscreteConfig, NoisyConfig, SparseConfig, new_bottleneck
from lamplan.latents.discrete import DiscreteBottleneck
from lamplan.latents.sparse import SparseBottleneck
from lamplan.models.encoder import EncoderConfig
from lamplan.models.inverse_dynamics import InverseDynamicsConfig
from lamplan.models.world_model import WorldModelConfig

CONFIGS: dict[str, BottleneckConfig] = {"noisy": NoisyConfig(8), "sparse": SparseConfig(8), "discrete": DiscreteConfig(8, 16, 4)}
every_kind = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


@every_kind
def test_latents_have_their_shape_and_the_penalty_its_gradient(config: BottleneckConfig) -> None:
    torch.manual_seed(0)
    bottleneck = new_bottleneck(config)
    parameters = torch.randn(5, 3, bottleneck.parameters_dim, requires_grad=True)
    sampled = bottleneck.sample(parameters)
    assert sampled.latents.shape == bottleneck.mean(parameters).shape == (5, 3, 8)
    assert sampled.nats.item() > 0 and sampled.penalty.ndim == 0
    (sampled.penalty + sampled.latents.sum()).backward()
    assert parameters.grad is not None and torch.isfinite(parameters.grad).all() and parameters.grad.abs().max() > 0


@every_kind
def test_a_model_of_every_kind_trains_saves_and_loads(config: BottleneckConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    lam = LatentActionModel(LAMConfig(encoder=EncoderConfig(32, 8, 24, 1, 2), inverse_dynamics=InverseDynamicsConfig(24, 1, 2),
                                      world_model=WorldModelConfig(24, 1, 2, 2), bottleneck=config))
    loss, parts = lam.loss(torch.randn(4, 4, 16, 24), imagined=True)
    loss.backward()
    assert torch.isfinite(loss) and "nats" in parts
    lam.save(tmp_path)
    again = LatentActionModel.load(tmp_path)
    assert again.config == lam.config
    s = torch.randn(2, 2, 16, 24)
    with torch.inference_mode():
        torch.testing.assert_close(again.infer(s[:, 0], s[:, 1]), lam.infer(s[:, 0], s[:, 1]))


def test_an_unknown_kind_gets_a_sentence(tmp_path: Path) -> None:
    LatentActionModel(LAMConfig()).save(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"noisy"', '"telepathic"'))
    with pytest.raises((InputError, CheckpointError), match=r"telepathic.*noisy, sparse, discrete"):
        LatentActionModel.load(tmp_path)


def test_the_price_of_a_noisy_latent_is_reckoned_in_full_precision() -> None:
    torch.manual_seed(0)
    parameters = (0.02 * torch.randn(120, 16)).bfloat16()
    noisy = new_bottleneck(NoisyConfig(8))
    half, full = noisy.sample(parameters), noisy.sample(parameters.float())
    assert half.nats.dtype == half.penalty.dtype == torch.float32
    torch.testing.assert_close(half.nats, full.nats)
    assert half.latents.dtype == torch.bfloat16


def test_sparse_terms_are_those_of_the_formulas() -> None:
    config = SparseConfig(dim=6, l1=0.3)
    z = torch.randn(40, 6) * torch.tensor([0.1, 0.5, 1.0, 2.0, 0.0, 1.0]) + 0.2
    expected = 0.0
    for row in z:
        expected += (max(math.sqrt(6) - float(row @ row), 0.0) + 0.3 * float(row.abs().sum())) / 40
    covariance = torch.cov(z.T, correction=0)
    for d in range(6):
        expected += 0.1 / 6 * max(1 - math.sqrt(float(covariance[d, d]) + 1e-6), 0.0) + 0.1 / 6 * float(z[:, d].mean()) ** 2
        expected += sum(0.001 / 30 * float(covariance[d, e]) ** 2 for e in range(6) if e != d)
    assert SparseBottleneck(config).sample(z).penalty.item() == pytest.approx(expected, rel=1e-4)


def test_sparse_latents_become_sparse_without_collapsing() -> None:
    torch.manual_seed(0)
    bottleneck, z = SparseBottleneck(SparseConfig(dim=16, l1=0.4)), torch.randn(256, 16, requires_grad=True)
    optimiser = torch.optim.Adam([z], 0.02)
    for _ in range(300):
        optimiser.zero_grad()
        bottleneck.sample(z).penalty.backward()
        optimiser.step()
    small = (z.detach().abs() < 0.05).float().mean()
    assert small > 0.5 and z.detach().norm(dim=-1).min() > 1.0


def test_words_are_the_nearest_and_gradients_pass_straight_through() -> None:
    torch.manual_seed(0)
    bottleneck = DiscreteBottleneck(DiscreteConfig(8, 16, 4))
    parameters = torch.randn(7, 8, requires_grad=True)
    nearest = torch.cdist(parameters.detach().view(-1, 2), bottleneck.words.detach()).argmin(-1).view(7, 4)
    assert torch.equal(bottleneck.indices(parameters), nearest)
    sampled = bottleneck.sample(parameters)
    torch.testing.assert_close(sampled.latents.detach(), bottleneck.mean(parameters).detach())
    assert sampled.nats <= bottleneck.most_nats + 1e-5
    weight = torch.randn(7, 8)
    (slope,) = torch.autograd.grad((sampled.latents * weight).sum(), parameters)
    torch.testing.assert_close(slope, weight)


def test_unused_words_move_to_where_latents_are() -> None:
    torch.manual_seed(0)
    bottleneck = DiscreteBottleneck(DiscreteConfig(4, 32, 2, reset_after=100))
    with torch.no_grad():
        bottleneck.words += 100.0  # nobody is near
        bottleneck.words[0] = 0.0
    latents = torch.randn(60, 4)
    bottleneck.sample(latents.requires_grad_())
    bottleneck.after_step()
    assert (bottleneck.words > 50).any()
    bottleneck.sample(latents)
    assert (bottleneck.words > 50).any()  # never in the middle of a step
    bottleneck.after_step()
    assert (bottleneck.words.abs() < 10).all() and bottleneck.seen == 0
    assert bottleneck.indices(latents).unique().numel() > 10
    before = bottleneck.words.clone()
    bottleneck.eval()
    for _ in range(3):
        bottleneck.sample(latents)
        bottleneck.after_step()
    assert torch.equal(before, bottleneck.words) and bottleneck.seen == 0


def test_two_ranks_together_price_a_batch_as_one_process_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    z = torch.randn(12, 8)
    for name, config in CONFIGS.items():
        if name == "noisy":  # whose penalty is a mean over transitions: DDP averages it without our help
            continue
        torch.manual_seed(1)
        whole = z.clone().requires_grad_()
        bottleneck = new_bottleneck(config)
        sampled = bottleneck.sample(whole)
        (slope,) = torch.autograd.grad(sampled.penalty, whole)
        port = _free_port()
        multiprocessing.spawn(_rank, (port, config, z, tmp_path / name), nprocs=2)  # type: ignore[no-untyped-call]
        parts = [torch.load(f"{tmp_path / name}-{rank}.pt", weights_only=True) for rank in range(2)]
        # DDP averages the ranks' gradients: half of the sum of what each rank has for its rows
        torch.testing.assert_close(torch.cat([part["slope"] for part in parts]) / 2, slope, rtol=1e-4, atol=1e-6)
        for part in parts:
            torch.testing.assert_close(part["nats"], sampled.nats.detach(), rtol=1e-4, atol=1e-5)


def _rank(rank: int, port: int, config: BottleneckConfig, z: Tensor, out: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(1)
    bottleneck = new_bottleneck(config)
    mine = z[rank * 6 : rank * 6 + 6].clone().requires_grad_()
    sampled = bottleneck.sample(mine)
    (slope,) = torch.autograd.grad(sampled.penalty, mine)
    torch.save({"slope": slope, "nats": sampled.nats.detach()}, f"{out}-{rank}.pt")
    distributed.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
