"""The reference that speed is measured against gives the plans of the fast planner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.latency import Reference, batches, native, plan_flops
from benchmarks.prefix_dynamics import PrefixDynamics
from benchmarks.run import Run
from lamplan.controllers import new_controller
from lamplan.lam import LAMConfig, LatentActionModel
from lamplan.latents import NoisyConfig
from lamplan.models.controller import ControllerConfig
from lamplan.models.encoder import EncoderConfig
from lamplan.models.inverse_dynamics import InverseDynamicsConfig
from lamplan.models.world_model import WorldModelConfig
from lamplan.planner import Planner
from lamplan.report import Results
from lamplan.robot import RobotSpec
from lamplan.rollout import LatentDynamics
from lamplan.search import CEM

PANDA = RobotSpec.load(Path(__file__).parents[2] / "controllers" / "panda")


@pytest.fixture(scope="module")
def dynamics() -> LatentDynamics:
    torch.manual_seed(0)
    lam = LatentActionModel(LAMConfig(
        encoder=EncoderConfig(image_size=32, patch=8, width=24, depth=1, heads=2), bottleneck=NoisyConfig(dim=8),
        inverse_dynamics=InverseDynamicsConfig(width=24, depth=1, heads=2),
        world_model=WorldModelConfig(width=24, depth=2, heads=2, context=2, max_frames=8)))
    controller = new_controller(ControllerConfig(width=24, depth=1, heads=2), lam, PANDA)
    for parameter in [*lam.parameters(), *controller.parameters()]:
        # Zeroed heads would make every plan cost the same, and small ones nearly so: rounding would choose the elites.
        torch.nn.init.normal_(parameter, std=0.4)
    return LatentDynamics(lam.eval(), controller.eval())


def images(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("search", [CEM(60, 5, 8, 3), CEM(40, 3, 5, 1)])
def test_fast_and_reference_loop_choose_the_same_plan(dynamics: LatentDynamics, search: CEM) -> None:
    for seed in range(3):
        fast = Planner(dynamics, PANDA, search).plan(images(seed), images(seed + 100), seed=seed)
        slow = Reference(PrefixDynamics(dynamics), PANDA, search).plan([images(seed)], images(seed + 100), seed=seed)
        np.testing.assert_allclose(fast.actions[0], slow, atol=1e-3)


def test_they_do_so_after_a_longer_past(dynamics: LatentDynamics) -> None:
    history, search = [images(1), images(2)], CEM(60, 5, 8, 3)
    fast = Planner(dynamics, PANDA, search).plan(history, images(101))
    np.testing.assert_allclose(fast.actions[0], Reference(PrefixDynamics(dynamics), PANDA, search).plan(history, images(101)), atol=1e-3)
    alone = Planner(dynamics, PANDA, search).plan(images(2), images(101))
    assert np.abs(alone.actions - fast.actions).max() > 1e-3, "the past changes nothing: this says nothing"


def test_a_precision_without_a_unit_for_it_is_no_rival() -> None:
    assert list(native({"fp32": 90e9, "bf16": 0.3e9})) == ["fp32"]
    assert list(native({"fp32": 150e9, "bf16": 600e9})) == ["fp32", "bf16"]


def test_the_reference_imagines_the_same_after_a_longer_past(dynamics: LatentDynamics) -> None:
    frames, actions = torch.randn(2, dynamics.world_model.config.context, 16, 24), torch.randn(2, 5, 3, 7) * 0.1
    reference = PrefixDynamics(dynamics)
    with torch.no_grad():
        torch.testing.assert_close(dynamics.rollout(dynamics.start(frames), actions), reference.rollout(reference.start(frames), actions),
                                   rtol=1e-4, atol=1e-4)


def test_several_at_once_say_how_near_they_come_to_the_rate(dynamics: LatentDynamics, tmp_path: Path) -> None:
    run = Run(Results.begin("latency", 0, "cpu", [], preset="wild-small"), tmp_path, 1)
    batches({"4 x 1": Planner(dynamics, PANDA, CEM(4, 1, 2, 1))}, dynamics.lam, [1, 2], run, {"4 x 1": 1e-6})
    plans, shares = (run.results.find("several episodes", metric) for metric in ("busy_plans_per_second", "share of the matrix rate"))
    assert [row.name for row in shares] == [row.name for row in plans] == ["4 x 1, 1 at once", "4 x 1, 2 at once"]
    assert [row.value for row in shares] == pytest.approx([row.value * 1e-6 for row in plans])


def test_flops_grow_with_the_budget(dynamics: LatentDynamics) -> None:
    small, large = (plan_flops(dynamics, PANDA, CEM(samples, 3, 5, 3)) for samples in (20, 40))
    assert 1.8 < large / small < 2.0
