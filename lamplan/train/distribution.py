"""Several processes that train one model. All of it is applied from outside: no model knows of it.

`joined` says who the processes are, `World` what they agree on, `Spread` how a module's work is divided among them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from lamplan.latents import Bottleneck
from lamplan.models.compiled import blocks_of, compile_blocks
from lamplan.precision import Precision

PATIENCE = timedelta(days=2)  # for the others while the first process decodes and encodes


@dataclass(frozen=True)
class Execution:
    """How the steps of a training are computed; none of it changes what is learned beyond rounding."""

    precision: Precision = "fp32"  # of matrix products; weights, optimiser and losses stay in fp32
    parallel: Literal["ddp", "fsdp"] = "ddp"  # every process keeps the whole model, or a part of each tensor (FSDP2)
    compile: bool = False  # torch.compile, block by block
    recompute: bool = False  # a block's activations are computed again in the backward pass instead of being kept


@dataclass(frozen=True)
class World:
    """The processes of one training. `talk` and `save` are gloo groups for numbers and for checkpoints written in the
    background: apart, so that neither ever waits in the other's line nor in that of the gradients."""

    rank: int = 0
    size: int = 1
    talk: Any = None
    save: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process writes what is written once: curves, cards, weights."""
        return self.rank == 0

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all processes."""
        if self.size == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(sums, group=self.talk)
        return sums.tolist()

    def from_leader(self, number: float) -> float:
        return self.total([number if self.leads else 0.0])[0]

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """The first process runs the block before the others, which then find its files."""
        if not self.leads:
            self.total([0])
        yield
        if self.leads:
            self.total([0])


ALONE = World()


@contextmanager
def joined(device: str) -> Iterator[tuple[World, str]]:
    """The world that torchrun describes in the environment, or this process alone; and this process's own device."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield ALONE, device
        return
    if device.startswith("cuda"):
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
    groups = [distributed.new_group(backend="gloo", timeout=PATIENCE) for _ in range(2)]
    try:
        yield World(distributed.get_rank(), distributed.get_world_size(), *groups), device
    finally:
        distributed.destroy_process_group()


class _Whole(nn.Module):
    """Runs any function of the module's parts inside one forward, which is where DDP and FSDP2 do their work."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


class Spread:
    """A module made ready for `execution` in a world; with FSDP2 its parameters are sharded in place."""

    def __init__(self, module: nn.Module, execution: Execution, world: World) -> None:
        blocks = blocks_of(module)
        # In this order: torch.compile gives up on a checkpoint, a checkpoint does not mind what it runs again.
        if execution.compile:
            compile_blocks(module)
        for block in blocks:
            if execution.recompute:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
        self._whole: nn.Module = _Whole(module)
        self._replicated: list[nn.Parameter] = []
        self.world = world
        if world.size == 1:
            return
        if execution.parallel == "ddp":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the option's new name is not known to torch 2.9
                self._whole = DistributedDataParallel(self._whole, broadcast_buffers=False, gradient_as_bucket_view=True)
            return
        # A bottleneck's few words stay whole on every process: they are moved by hand when nobody uses them.
        whole = {p for part in module.modules() if isinstance(part, Bottleneck) for p in part.parameters()}
        self._replicated = [p for p in module.parameters() if p in whole and p.requires_grad]
        mesh = init_device_mesh(next(module.parameters()).device.type, (world.size,))
        # A block also returns its keys and values, views that nobody writes to.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
        for block in blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(self._whole, mesh=mesh, ignored_params=whole)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._whole(function, *arguments)

    @contextmanager
    def accumulating(self, last: bool) -> Iterator[None]:
        """Around forward and backward of one part of a batch: gradients are averaged over processes after the last."""
        if isinstance(self._whole, FSDPModule):
            self._whole.set_requires_gradient_sync(last)
        silent = isinstance(self._whole, DistributedDataParallel) and not last
        with self._whole.no_sync() if silent else nullcontext():  # type: ignore[operator]
            yield
        if last:
            for parameter in self._replicated:
                assert parameter.grad is not None
                distributed.all_reduce(parameter.grad)
                parameter.grad.div_(self.world.size)


def clip_gradients(parameters: Sequence[Tensor], limit: float) -> float:
    """Scales all gradients so that their common norm is at most `limit`; returns what it was, over all processes."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    kinds = [[g for g in gradients if isinstance(g, DTensor) == sharded] for sharded in (False, True)]
    norms = [nn.utils.get_total_norm(kind) for kind in kinds if kind]
    norm = torch.stack([n.full_tensor() if isinstance(n, DTensor) else n for n in norms]).norm()
    own = [g.to_local() if isinstance(g, DTensor) else g for g in gradients]
    torch._foreach_mul_(own, (limit / (norm + 1e-6)).clamp(max=1.0))
    return norm.item()


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's state with every tensor whole, on all processes, whether it was sharded or not."""
    return cast("dict[str, Tensor]", get_model_state_dict(module, options=StateDictOptions(full_state_dict=True)))
