"""A tiny training of the whole latent action model, to be run by one process or by several."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, multiprocessing

from lamplan.lam import LAMConfig, LatentActionModel
from lamplan.latents import BottleneckConfig, DiscreteConfig, NoisyConfig, SparseConfig
from lamplan.models.encoder import EncoderConfig
from lamplan.models.inverse_dynamics import InverseDynamicsConfig
from lamplan.models.world_model import WorldModelConfig
from lamplan.train import loop
from lamplan.train.config import PretrainConfig
from lamplan.train.distribution import ALONE, Execution, World, joined
from lamplan.train.loop import Budget
from lamplan.train.optimiser import OptimiserConfig
from lamplan.train.pretrain import train_lam

BOTTLENECKS: dict[str, BottleneckConfig] = {"noisy": NoisyConfig(8, 1e-3), "sparse": SparseConfig(8),
                                            "discrete": DiscreteConfig(8, 32, 2, reset_after=120)}  # a reset every 5 steps
BATCH = 8


def recipe(bottleneck: str, micro_batch: int = 2, **changes: object) -> PretrainConfig:
    lam = LAMConfig(encoder=EncoderConfig(16, 8, 24, 1, 2), inverse_dynamics=InverseDynamicsConfig(24, 1, 2),
                    world_model=WorldModelConfig(24, 2, 2, 3), bottleneck=BOTTLENECKS[bottleneck])
    # Adam turns a gradient that is all rounding into a whole step: a rate well above 1e-5 a step, not a hundred times it.
    config = PretrainConfig(lam, optimiser=OptimiserConfig(learning_rate=3e-4, warmup=0.2), batch=BATCH, micro_batch=micro_batch,
                            clip_frames=4, imagined=0.3)
    return replace(config, **changes)  # type: ignore[arg-type]


class Squares:
    """Clips drawn from a seed and the step alone: features, or images that the model encodes by itself."""

    def __init__(self, images: bool = False) -> None:
        self.images = images

    def draw(self, step: int, batch: int) -> Tensor:
        rng = np.random.default_rng((7, step))
        if self.images:
            return torch.from_numpy(rng.integers(0, 256, (batch, 4, 16, 16, 3), dtype=np.uint8))
        first, move = rng.normal(size=(2, batch, 1, 4, 24))
        return torch.from_numpy(first + 0.3 * np.arange(4).reshape(-1, 1, 1) * move).half()


def learn(config: PretrainConfig, out: Path, steps: int, *, images: bool = False, world: World = ALONE,
          frozen: bool = False) -> LatentActionModel:
    """Trains and returns the model, or with `frozen` latents its world model alone; the curves in `out` hold every step."""
    loop.LOG_EVERY = 1
    torch.manual_seed(0)
    model = LatentActionModel(config.lam)
    model.encoder.eval().requires_grad_(False)
    if frozen:
        model.inverse_dynamics.eval().requires_grad_(False)
        model.bottleneck.eval().requires_grad_(False)
    clips = Squares(images)
    train_lam(model, clips, {"held": clips.draw(10**9, 4)}, config, Budget(steps=steps), out,
              Execution("fp32", config.parallel, config.compile, config.recompute), world)
    return model


def losses(out: Path) -> list[str]:
    """The curves of a run without what only the clock decides."""
    rows = [line.split(",") for line in (out / "curves.csv").read_text().splitlines()[1:]]
    return [",".join((step, name, value)) for step, _, name, value in rows if not name.startswith("speed/")]


def begin(function: object, *arguments: object) -> multiprocessing.Process:
    """Starts `function(*arguments)` in a fresh process: forked from one that has imported torch and never computed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.cluster"])
    process = context.Process(target=function, args=arguments)  # type: ignore[arg-type]
    process.start()
    return process  # type: ignore[return-value]


def together(size: int, function: object, *arguments: object) -> None:
    """Runs `function(world, *arguments)` in `size` processes joined as torchrun joins them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [begin(_one, rank, size, port, function, arguments) for rank in range(size)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * size


def _one(rank: int, size: int, port: int, function, arguments) -> None:  # type: ignore[no-untyped-def]
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    with joined("cpu") as (world, _):
        function(world, *arguments)
