"""What a training step reads: features from the disk, or frames through an encoder that stays as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from lamplan.models.encoder import Encoder


def clip_features(encoder: Encoder, clip: Tensor) -> Tensor:
    """Features (B, T, P, D) of clips that are features already, or of frames (B, T, H, W, 3) uint8 through the frozen encoder."""
    if clip.dtype != torch.uint8:
        return clip.float()
    with torch.inference_mode():
        encoded = encoder.clip(clip)
    return encoded.float().clone()  # which autograd, unlike a tensor of inference mode, may keep
