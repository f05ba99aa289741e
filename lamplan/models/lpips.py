"""LPIPS with AlexNet (Zhang et al. 2018, arXiv 1801.03924, version 0.1 of its heads): how different two images look."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTIONS = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
"""Channels in and out, side of the kernel, stride and padding; the second and the third come after a pooling."""


class LPIPS(nn.Module):
    """AlexNet's five convolutions, whose answers are compared channel by channel, each channel with a weight of its own."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(*sizes) for sizes in CONVOLUTIONS)
        self.heads = nn.ParameterList(torch.zeros(out) for _, out, *_ in CONVOLUTIONS)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None], persistent=False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Distances (N,) of images (N, 3, H, W) in -1..1 from others; 0 of an image from itself."""
        total = one.new_zeros(len(one))
        x = (torch.cat([one, other]) - self.shift) / self.scale
        for i, (convolution, head) in enumerate(zip(self.convolutions, self.heads, strict=True)):
            x = F.relu(convolution(F.max_pool2d(x, 3, 2) if i in (1, 2) else x))
            a, b = (x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)).chunk(2)
            total = total + torch.einsum("nchw,c->n", (a - b).square(), head) / (x.shape[2] * x.shape[3])
        return total
