"""LPIPS of images as the decoder has them, where its weights are on the machine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from safetensors.torch import load_file
from torch import Tensor

from lamplan.errors import InputError
from lamplan.models.lpips import LPIPS
from lamplan.train.lpips_weights import weights_file

Distance = Callable[[Tensor, Tensor], Tensor]
"""Distances (N,) of images (N, H, W, 3) in 0..1 from others."""


def lpips_distance(device: str | torch.device) -> Distance:
    """LPIPS with AlexNet, as published figures have it. Raises InputError where its weights are not on the machine."""
    file = weights_file()
    if not file.is_file():
        raise InputError(f"LPIPS needs its weights, and there are none in {file}: fetch them once with `python -m "
                         "lamplan.train.lpips_weights`, or do without LPIPS (`perceptual = 0` in a recipe).")
    network = LPIPS()
    network.load_state_dict(load_file(file))
    network = network.eval().requires_grad_(False).to(device)

    def distance(images: Tensor, others: Tensor) -> Tensor:
        # The network takes channels first, in -1..1.
        found: Tensor = network(*((2 * side - 1).movedim(-1, -3) for side in (images, others)))
        return found

    return distance
