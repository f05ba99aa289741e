"""LPIPS (Zhang et al. 2018), where its packages and weights are on the machine. lamplan ships neither."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lamplan.errors import InputError

Distance = Callable[[Tensor, Tensor], Tensor]
"""Distances (N,) of images (N, H, W, 3) in 0..1 from others."""


def lpips_distance(device: str | torch.device) -> Distance:
    """LPIPS with AlexNet, as published figures have it. Raises InputError where package, torchvision or backbone weights are missing."""
    try:
        import lpips
    except ImportError as error:
        raise InputError(f"LPIPS needs the packages lpips and torchvision ({error}): install both, or do without LPIPS (`perceptual = 0` "
                         "in a recipe).") from None
    try:
        network = lpips.LPIPS(net="alex", verbose=False)
    except (OSError, RuntimeError) as error:
        raise InputError(f"LPIPS has no weights of its backbone AlexNet ({error}): torchvision fetches them once, so run it with a network "
                         "or put them into torch's hub cache; or do without LPIPS.") from None
    network = network.eval().requires_grad_(False).to(device)

    def distance(images: Tensor, others: Tensor) -> Tensor:
        # The network takes channels first, in -1..1.
        return network(*((2 * side - 1).movedim(-1, -3) for side in (images, others))).flatten()

    return distance
