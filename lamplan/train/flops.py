"""How fast a model trains beside what its device could do: operations counted, not estimated, and a rate measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from lamplan.train.distribution import Precision

Shape = tuple[int, ...]


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(slope: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return int(sdpa_backward_flop_count(slope, query, key, value))  # type: ignore[no-untyped-call]


# torch counts the fused attention of accelerators by itself, but not the CPU's.
ON_CPU = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
          torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward}


def training_flops(module: nn.Module, loss: Callable[[], Tensor]) -> int:
    """Floating point operations of one forward and backward pass through `loss`; the module's state stays as it is.

    Matrix products, convolutions and attention are counted, as every published MFU does.
    """
    was = {part: part.training for part in module.modules()}
    module.eval()  # nothing that counts its batches may count this one
    with FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        loss().backward()
    for parameter in module.parameters():
        parameter.grad = None
    for part, training in was.items():
        part.training = training
    return int(counter.get_total_flops())


def matrix_rate(device: torch.device, precision: Precision, seconds: float = 0.1) -> float:
    """Operations per second of square matrix products on this device in this precision, the best of what fits in `seconds`."""
    accelerator = device.type != "cpu"
    size = 8192 if accelerator else 1024
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    best, began = float("inf"), time.perf_counter()
    matrix @ matrix
    while time.perf_counter() - began < seconds:
        synchronise(device)
        started = time.perf_counter()
        matrix @ matrix
        synchronise(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best if best < float("inf") else 2 * size**3 / (time.perf_counter() - began)


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
