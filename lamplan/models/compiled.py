"""torch.compile for the networks here: block by block, which all have one compiled form."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The transformer blocks of all networks in a module."""
    lists = [child for part in module.modules() for name, child in part.named_children() if name == "blocks"]
    return [block for each in lists for block in each.children()]


def compile_blocks(module: nn.Module, frozen: bool = False) -> None:
    """Has every block compiled when it first runs, in place. `frozen` weights, which no gradient asks for, are laid out once for the
    products that they are in."""
    compiled = partial(torch.compile, options={"freezing": True}) if frozen else torch.compile
    for block in blocks_of(module):
        block.forward = compiled(block.forward)  # type: ignore[method-assign, call-overload]
