"""How fast a model works beside what its device could do: operations counted, not estimated, and a rate measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from lamplan.models.plain import plainly
from lamplan.precision import Precision
from lamplan.train.timing import timed

Shape = tuple[int, ...]


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(slope: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return int(sdpa_backward_flop_count(slope, query, key, value))  # type: ignore[no-untyped-call]


# torch counts the fused attention of accelerators by itself, but not the CPU's.
ON_CPU = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
          torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward}


def operations(work: Callable[[], object]) -> dict[str, int]:
    """Floating point operations of `work` by operator (`aten::mm`): matrix products, convolutions and attention, as every published MFU
    counts them."""
    with plainly(), FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        work()
    return {str(name).replace(".", "::"): int(count) for name, count in counter.get_flop_counts().get("Global", {}).items()}


def training_operations(module: nn.Module, loss: Callable[[], Tensor]) -> dict[str, int]:
    """`operations` of one forward and backward pass through `loss`; the module's state stays as it is."""
    was = {part: part.training for part in module.modules()}
    module.eval()  # nothing that counts its batches may count this one
    counts = operations(lambda: loss().backward())  # type: ignore[no-untyped-call]
    for parameter in module.parameters():
        parameter.grad = None
    for part, training in was.items():
        part.training = training
    return counts


def training_flops(module: nn.Module, loss: Callable[[], Tensor]) -> int:
    """All operations of one forward and backward pass through `loss`."""
    return sum(training_operations(module, loss).values())


def matrix_rate(device: torch.device, precision: Precision, seconds: float = 0.1) -> float:
    """Operations per second of square matrix products on this device in this precision: after a first one, the best in `seconds`."""
    size = 1024 if device.type == "cpu" else 8192
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    timed(lambda: matrix @ matrix, device)  # an accelerator's first product waits for a library, for longer than all the others take
    best, began = float("inf"), time.perf_counter()
    while True:
        best = min(best, timed(lambda: matrix @ matrix, device).busy)
        if time.perf_counter() - began > seconds:
            return 2 * size**3 / best
