"""Where time goes inside a piece of work: torch's operators by the time that is their own."""

from __future__ import annotations

import re

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

COMPILED = re.compile(r"(## Call CompiledFxGraph|Torch-Compiled Region|CompiledFunction|triton_).*")


class OperatorProfile:
    """Watches what this thread computes between `begin` and `end`; it makes the work somewhat slower, so times are for comparing."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._profile = profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self._on_gpu)

    def begin(self) -> None:
        self._profile.start()

    def end(self) -> None:
        self._profile.stop()

    def shares(self) -> dict[str, float]:
        """Each operator's (`aten::mm`) share of the time of all: on a CPU its own without that of the operators it calls, on a GPU that
        of the kernels which it started. What torch.compile made is one operator, but for its attention."""
        own: dict[str, float] = {}
        for event in self._profile.key_averages():
            if event.device_type == DeviceType.CPU:
                name = "compiled flex_attention" if "flex_attention" in event.key else COMPILED.sub("compiled, all else", event.key)
                own[name] = own.get(name, 0.0) + (event.self_device_time_total if self._on_gpu else event.self_cpu_time_total)
        total = sum(own.values())
        return {name: time / total for name, time in own.items() if time > 0}
