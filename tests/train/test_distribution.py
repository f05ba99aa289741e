"""Two processes learn what one learns from the same global batch, however the model is spread over them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lamplan import LatentActionModel
from lamplan.errors import InputError
from lamplan.models.world_model import WorldModel, WorldModelConfig
from lamplan.train.batches import Parts
from lamplan.train.distribution import ALONE, Execution, Spread, World, clip_gradients
from lamplan.train.joint import JointConfig
from lamplan.train.optimiser import OptimiserConfig
from lamplan.train.pretrain import Joint
from tests.train.cluster import BOTTLENECKS, Squares, learn, losses, recipe, together

STEPS = 20  # the discrete bottleneck resets its words at every fifth
MUON_STEPS = 3
JOINT_STEPS = 4
FROZEN_STEPS = 3
MUON = {"encode": "each_step", "optimiser": OptimiserConfig("muon", warmup=0.2)}
PARALLEL = ("ddp", "fsdp")
ways = pytest.mark.parametrize(("kind", "parallel"), [(kind, parallel) for kind in BOTTLENECKS for parallel in PARALLEL])


def _all_ways(world: World, out: Path) -> None:
    for parallel in PARALLEL:
        for kind in BOTTLENECKS:
            model = learn(recipe(kind, parallel=parallel), out / f"{kind}-{parallel}", STEPS, world=world)
            torch.save(model.state_dict(), out / f"{kind}-{parallel}-{world.rank}.pt")
        model = learn(recipe("sparse", parallel=parallel, joint=JointConfig(ema=0.9)), out / f"joint-{parallel}", JOINT_STEPS, images=True,
                      world=world)
        torch.save(model.state_dict(), out / f"joint-{parallel}-{world.rank}.pt")
    # Other paths of the same code: images encoded at each step, activations computed again, Muon on sharded matrices.
    model = learn(recipe("noisy", parallel="fsdp", recompute=True, **MUON), out / "muon", MUON_STEPS, images=True, world=world)
    torch.save(model.state_dict(), out / f"muon-{world.rank}.pt")
    for parallel in PARALLEL:
        torch.save(_slopes(world, parallel), out / f"slopes-{parallel}-{world.rank}.pt")
        # Nothing but the world model learns.
        frozen = learn(recipe("discrete", parallel=parallel), out / f"frozen-{parallel}", FROZEN_STEPS, world=world, frozen=True)
        torch.save(frozen.state_dict(), out / f"frozen-{parallel}-{world.rank}.pt")


def _slopes(world: World, parallel: str) -> dict[str, Tensor]:
    """The codebook's gradient and the norm of all gradients after a step's backward passes: Adam would hide a factor in them."""
    config = recipe("discrete")
    torch.manual_seed(0)
    model = LatentActionModel(config.lam)
    joint = Joint(model)
    spread = Spread(joint, Execution(parallel=parallel), world)  # type: ignore[arg-type]
    parts = Squares().draw(0, 8).float().split(2)[world.rank :: world.size]
    for k, part in enumerate(parts):
        with spread.accumulating(last=k == len(parts) - 1):
            (spread.run(model.loss, part)[0] / len(parts)).backward()
    norm = clip_gradients(list(joint.parameters()), math.inf)
    return {"words": model.bottleneck.words.grad.clone(), "norm": torch.tensor(norm)}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pair")
    together(2, _all_ways, out)
    return out


def numbers(out: Path, part: str = "train/l") -> Tensor:
    return torch.tensor([float(line.split(",")[2]) for line in losses(out) if line.split(",")[1].startswith(part)])


@ways
def test_two_processes_learn_what_one_does(kind: str, parallel: str, pair: Path) -> None:
    one = pair / f"{kind}-{parallel}-alone"
    alone = learn(recipe(kind), one, STEPS)
    start = torch.manual_seed(0) and LatentActionModel(alone.config).state_dict()
    torch.testing.assert_close(numbers(pair / f"{kind}-{parallel}"), numbers(one), rtol=0, atol=1e-5)
    for rank in range(2):
        state = torch.load(pair / f"{kind}-{parallel}-{rank}.pt", weights_only=True)
        for name, tensor in alone.state_dict().items():
            torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    moved = [name for name, tensor in alone.state_dict().items() if not torch.equal(tensor, start[name])]
    assert any("world_model" in name for name in moved) and any("inverse_dynamics" in name for name in moved)
    if kind == "discrete":
        assert "bottleneck.words" in moved and state["bottleneck.seen"] < 120


def test_gradients_are_averaged_over_processes_to_the_factor(pair: Path) -> None:
    expected = _slopes(ALONE, "ddp")
    assert expected["words"].abs().max() > 1e-3
    for parallel in PARALLEL:
        for rank in range(2):
            found = torch.load(pair / f"slopes-{parallel}-{rank}.pt", weights_only=True)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_codebook_that_stays_is_shared_as_well(pair: Path, tmp_path: Path) -> None:
    alone = learn(recipe("discrete"), tmp_path, FROZEN_STEPS, frozen=True)
    start = torch.manual_seed(0) and LatentActionModel(alone.config).state_dict()
    assert torch.equal(alone.bottleneck.words, start["bottleneck.words"])
    assert not torch.equal(alone.world_model.head.weight, start["world_model.head.weight"])
    for parallel in PARALLEL:
        for rank in range(2):
            state = torch.load(pair / f"frozen-{parallel}-{rank}.pt", weights_only=True)
            for name, tensor in alone.state_dict().items():
                torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_other_paths_agree_as_far_as_their_precision_allows(pair: Path, tmp_path: Path) -> None:
    alone = learn(recipe("noisy", **MUON), tmp_path, MUON_STEPS, images=True)
    # Muon makes its matrices orthogonal in bf16, where a rounding of the sum over processes shows.
    torch.testing.assert_close(numbers(pair / "muon"), numbers(tmp_path), rtol=1e-2, atol=1e-3)
    assert torch.equal(alone.encoder.patches.weight, torch.load(pair / "muon-1.pt", weights_only=True)["encoder.patches.weight"])


def test_an_encoder_that_learns_jointly_learns_the_same_in_two_processes(pair: Path, tmp_path: Path) -> None:
    alone = learn(recipe("sparse", joint=JointConfig(ema=0.9)), tmp_path, JOINT_STEPS, images=True)
    start = torch.manual_seed(0) and LatentActionModel(alone.config).state_dict()
    assert not torch.equal(alone.encoder.patches.weight, start["encoder.patches.weight"])
    for parallel in PARALLEL:
        torch.testing.assert_close(numbers(pair / f"joint-{parallel}"), numbers(tmp_path), rtol=0, atol=1e-5)
        for rank in range(2):
            state = torch.load(pair / f"joint-{parallel}-{rank}.pt", weights_only=True)
            for name, tensor in alone.state_dict().items():
                torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_another_number_of_processes_goes_on_from_the_same_state(pair: Path, tmp_path: Path) -> None:
    """What two processes saved shard by shard is to one process the very state that they had."""
    for kind, parallel in (("discrete", "fsdp"), ("sparse", "ddp")):
        run = tmp_path / kind
        shutil.copytree(pair / f"{kind}-{parallel}", run)
        rows = losses(run)
        resumed = learn(recipe(kind), run, STEPS)
        assert losses(run) == rows
        for name, tensor in torch.load(pair / f"{kind}-{parallel}-0.pt", weights_only=True).items():
            assert torch.equal(resumed.state_dict()[name], tensor), name
        learn(recipe(kind), run, STEPS + 2)
        assert losses(run)[: len(rows)] == rows and losses(run)[-1].startswith(f"{STEPS + 2},")


@pytest.mark.parametrize(("kind", "whole"), [("noisy", False), ("sparse", True), ("discrete", False)])
def test_parts_of_a_batch_add_up_to_the_whole(kind: str, whole: bool) -> None:
    """The gradient of a batch in parts is that of the batch, where no noise tells them apart."""
    torch.manual_seed(0)
    model = LatentActionModel(recipe(kind).lam)
    assert model.bottleneck.whole_batch is whole
    if kind == "noisy":  # whose draws are those of its part
        return
    torch.nn.init.normal_(model.world_model.head.weight, std=0.1)
    clips = Squares().draw(0, 6).float()
    parts = [clips[:2], clips[2:4], clips[4:]]
    value, _ = model.loss(clips)
    value.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    prices = model.price(parts) if whole else [None] * 3
    each = [model.loss(part, price=price)[0] / 3 for part, price in zip(parts, prices, strict=True)]
    torch.stack(each).sum().backward()
    torch.testing.assert_close(torch.stack(each).sum(), value)
    for name, p in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(p.grad, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("recompute", [False, True])
def test_blocks_are_compiled_whole_and_computed_again_when_asked(recompute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        return lambda *arguments: (runs.append(1), graph.forward(*arguments))[1]

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: compile_(function, backend=backend, fullgraph=True))
    torch.manual_seed(0)
    model = WorldModel(WorldModelConfig(24, 2, 2, 3), 24, 4, 8)
    torch.nn.init.normal_(model.head.weight)
    s, a = torch.randn(2, 3, 16, 24), torch.randn(2, 3, 8)
    expected = torch.autograd.grad(model(s, a).sum(), list(model.parameters()))
    Spread(model, Execution(compile=True, recompute=recompute), ALONE).run(model, s, a).sum().backward()
    assert len(runs) == (4 if recompute else 2)  # two blocks, and each of them once more
    for parameter, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted)


def test_every_part_is_computed_once_by_any_number_of_processes() -> None:
    for size in (1, 2, 4, 8):
        worlds = [Parts(16, 2, World(rank, size)) for rank in range(size)]
        numbers = [parts.index(step, k) for parts in worlds for step in range(3) for k in range(parts.own)]
        assert sorted(numbers) == list(range(24))
        assert [worlds[-1].index(0, 0), worlds[-1].index(1, 0) - worlds[-1].index(0, worlds[-1].own - 1)] == [size - 1, size]
    for batch, micro, size in ((16, 3, 1), (16, 8, 4), (16, 0, 1)):
        with pytest.raises(InputError, match="micro_batch"):
            Parts(batch, micro, World(0, size))
