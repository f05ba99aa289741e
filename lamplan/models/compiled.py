"""torch.compile for the networks here: block by block, which all have one compiled form."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch._dynamo.config as tracing
import torch._inductor.config as generating
from torch import nn

from lamplan.models.prepared import Prepared, may_prepare

FORMS = 32
"""So many graphs a block may have before what it has not seen yet runs uncompiled: one for every number of frames before this one, shared
by candidates or their own, and more where one episode becomes several."""


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The transformer blocks of all networks in a module."""
    lists = [child for part in module.modules() for name, child in part.named_children() if name == "blocks"]
    return [block for each in lists for block in each.children()]


def compile_blocks(module: nn.Module) -> None:
    """Has every block compiled when it first runs, in place."""
    for block in blocks_of(module):
        block.forward = torch.compile(block.forward)  # type: ignore[method-assign]


def compile_rollout(module: nn.Module, frozen: bool) -> None:
    """The same for blocks that candidates are imagined with, in up to FORMS graphs each.

    `frozen` weights, which no gradient asks for, become constants that are laid out once for the products that they are in; every block
    then has graphs of its own.
    """
    blocks = blocks_of(module)
    for block in blocks:
        # A deadline changes how many candidates are imagined at once, and none can wait for a compiler: on a CPU any number is the same
        # graph. A GPU imagines all of them at once, or as many as its memory holds, but under a deadline: the second number that it sees is
        # compiled for any.
        compiled = torch.compile(block.forward, dynamic=True if frozen else None)
        known = torch._dynamo.run(block.forward)  # type: ignore[no-untyped-call]
        block.forward = partial(_in_forms, compiled, known, FORMS * (len(blocks) if frozen else 1), frozen)  # type: ignore[method-assign]


def _in_forms(compiled: Any, known: Any, graphs: int, frozen: bool, *args: Any, **kwargs: Any) -> Any:
    # Freezing not as an option of torch.compile: tracing asks the setting itself whether weights are constants, and else hands them in like
    # any other input. And all blocks count as one function, whose graphs are limited.
    with generating.patch(freezing=frozen), tracing.patch(recompile_limit=graphs):
        return compiled(*args, **kwargs) if may_prepare(Prepared.CODE) else known(*args, **kwargs)
