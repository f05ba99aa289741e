"""`LatentActionModel`: a frozen encoder, an inverse dynamics model and a world model, learned from video alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamplan.errors import InputError
from lamplan.latents import KINDS, BottleneckConfig, NoisyConfig, config_class, new_bottleneck
from lamplan.models.encoder import Encoder, EncoderConfig
from lamplan.models.inverse_dynamics import InverseDynamicsConfig, InverseDynamicsModel
from lamplan.models.vjepa2 import read_weights
from lamplan.models.world_model import WorldModel, WorldModelConfig
from lamplan.weights import build, later, load_weights, read_config, save_folder

KIND = "latent action model"


@dataclass(frozen=True)
class LAMConfig:
    rate_hz: float = 4.0  # one latent action per step of video
    max_stride: int = later(1)  # or per up to so many steps: trained on clips of every k-th frame, k from 1 to this
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    inverse_dynamics: InverseDynamicsConfig = field(default_factory=InverseDynamicsConfig)
    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)
    bottleneck: BottleneckConfig = field(default_factory=NoisyConfig)

    @property
    def latent_dim(self) -> int:
        return self.bottleneck.dim

    def as_dict(self) -> dict[str, Any]:
        """Every entry, the bottleneck's kind among them."""
        kind = next(name for name, cls in KINDS.items() if isinstance(self.bottleneck, cls))
        return {**asdict(self), "bottleneck": {"kind": kind, **asdict(self.bottleneck)}}


class Price(NamedTuple):
    """The price of a whole batch's latents, its slope (rows, ...) at the parameters of one part, and the capacity in nats."""

    penalty: Tensor
    slope: Tensor
    nats: Tensor


class Outcome(NamedTuple):
    """Predicted frames 1..T (B, T, P, D) of clips, the price of the latents that led there, and their capacity in nats."""

    predicted: Tensor
    penalty: Tensor
    nats: Tensor


class LatentActionModel(nn.Module):
    """Shapes: B batch, T frames, P patch tokens, D feature width, Z latent width; images uint8 (..., H, W, 3).

    With `encoder_weights` (a released .pt file or Hugging Face folder, for an encoder of `models.vjepa2.encoder_config`) the encoder is
    read from them, and `encoder_read` tells how. A saved model holds its encoder and loads without the file.
    """

    def __init__(self, config: LAMConfig, encoder_weights: str | Path | None = None) -> None:
        super().__init__()
        self.config = config
        features, side = config.encoder.width, config.encoder.side
        self.encoder = Encoder(config.encoder)
        self.encoder_read = None if encoder_weights is None else read_weights(self.encoder, encoder_weights)
        self.bottleneck = new_bottleneck(config.bottleneck)
        self.inverse_dynamics = InverseDynamicsModel(config.inverse_dynamics, features, side, self.bottleneck.parameters_dim)
        self.world_model = WorldModel(config.world_model, features, side, config.latent_dim)

    def encode(self, images: Tensor) -> Tensor:
        """Standardised features (..., P, D) of uint8 images (..., H, W, 3), resized to the encoder's size if need be.

        Each image by itself, whatever the encoder's mode: what a robot sees now has no second frame to pair it with, so it is
        doubled, as the paper does at control time. Clips to train on go through `encoder.clip`.
        """
        sized = self.sized(images)
        features: Tensor = self.encoder(sized.reshape(-1, *sized.shape[-3:]))
        return features.reshape(*sized.shape[:-3], *features.shape[1:])

    def sized(self, images: Tensor) -> Tensor:
        """uint8 images (..., H, W, 3) as the encoder takes them (..., size, size, 3)."""
        if images.dtype != torch.uint8 or images.ndim < 3 or images.shape[-1] != 3:
            raise InputError(f"images must be uint8 of shape (..., H, W, 3), found {images.dtype} {tuple(images.shape)}.")
        size = self.config.encoder.image_size
        if images.shape[-3:-1] == (size, size):
            return images
        return resize(images.reshape(-1, *images.shape[-3:]), size).reshape(*images.shape[:-3], size, size, 3)

    def infer(self, s: Tensor, s_next: Tensor) -> Tensor:
        """Latent actions (..., Z) of the transitions from s to s_next, both (..., P, D)."""
        parameters = self.inverse_dynamics(s.flatten(0, -3), s_next.flatten(0, -3))
        return self.bottleneck.mean(parameters).unflatten(0, s.shape[:-2])

    def predict(self, past: Tensor, z: Tensor) -> Tensor:
        """The next features (B, P, D) from frames (B, T, P, D) and the latent (B, T, Z) taken at each of them."""
        return self.world_model(past, z)[:, -1]

    def price(self, clips: list[Tensor]) -> list[Price]:
        """What the latents of a batch cost as a whole, for a loss that is computed on its parts (B, T+1, P, D) one by one."""
        with torch.no_grad():
            rows = [self._transitions(clip).flatten(0, 1) for clip in clips]
        every = torch.cat(rows).requires_grad_()
        with torch.enable_grad():
            _, penalty, nats = self.bottleneck.sample(every)
            (slope,) = torch.autograd.grad(penalty, every)
        # The loss of a batch is the mean over its parts, of which each brings its own rows' share of the slope.
        return [Price(penalty.detach(), part * len(clips), nats) for part in slope.split([len(part) for part in rows])]

    def loss(self, clip: Tensor, imagined: bool = False, price: Price | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """L1 of the predicted frames plus the price of the latent, on clips (B, T+1, P, D) of features.

        Predictions are one step each under teacher forcing (the paper's loss), or, `imagined`, a rollout of the model's own
        predictions from the first frame, which is how a planner uses it (JEPA-WMs, arXiv 2512.24497, find that this helps).
        `price` replaces the price of this clip's own latents where the bottleneck prices a batch as a whole.
        """
        done = self.outcome(clip, imagined, price)
        l1 = F.l1_loss(done.predicted, clip[:, 1:])
        return l1 + done.penalty, {"rollout_l1" if imagined else "l1": l1, "nats": done.nats}

    def outcome(self, clip: Tensor, imagined: bool = False, price: Price | None = None) -> Outcome:
        """What `loss` is made from, on clips (B, T+1, P, D)."""
        parameters = self._transitions(clip)
        if price is None:
            z, penalty, nats = self.bottleneck.sample(parameters)
        else:
            z, nats = self.bottleneck.mean(parameters), price.nats
            at_parameters = (parameters.flatten(0, 1) * price.slope).sum()
            penalty = price.penalty + at_parameters - at_parameters.detach()
        return Outcome(self.world_model.imagine(clip[:, 0], z) if imagined else self.world_model(clip[:, :-1], z), penalty, nats)

    def _transitions(self, clip: Tensor) -> Tensor:
        """Bottleneck parameters (B, T, ...) of the transitions of clips (B, T+1, P, D)."""
        s, s_next = clip[:, :-1], clip[:, 1:]
        return self.inverse_dynamics(s.flatten(0, 1), s_next.flatten(0, 1)).unflatten(0, s.shape[:2])

    def diagnose(self, clip: Tensor) -> dict[str, float]:
        """What tells a latent action model from a copier: one-step L1 on clips (B, T+1, P, D) with inferred latents, with
        latents of other clips (left out where there is one clip alone), with zero latents, and of copying the last frame; the same of
        the last frame of a rollout over the clip, and of copying the first; and the latent's capacity in nats."""
        return self.diagnose_parts(lambda first, last: clip[first:last], len(clip), len(clip))

    @torch.inference_mode()
    def diagnose_parts(self, part: Callable[[int, int], Tensor], count: int, size: int) -> dict[str, float]:
        """`diagnose` of `count` clips, of which `part(first, last)` gives some: at most `size` are in memory at once."""
        sums: dict[str, float] = {}
        every: list[Tensor] = []
        before = self.bottleneck.mean(self._transitions(part(count - 1, count)))  # each clip gets the latents of the one before it
        for first in range(0, count, size):
            clip = part(first, min(first + size, count))
            s, s_next, parameters = clip[:, :-1], clip[:, 1:], self._transitions(clip)
            z = self.bottleneck.mean(parameters)
            errors = {"inferred": F.l1_loss(self.world_model(s, z), s_next),
                      "shuffled": F.l1_loss(self.world_model(s, torch.cat([before, z[:-1]])), s_next),
                      "zero": F.l1_loss(self.world_model(s, torch.zeros_like(z)), s_next),
                      "copy": F.l1_loss(s, s_next),
                      "rollout": F.l1_loss(self.world_model.imagine(s[:, 0], z)[:, -1], s_next[:, -1]),
                      "rollout_copy": F.l1_loss(s[:, 0], s_next[:, -1])}
            for name, error in errors.items():
                sums[name] = sums.get(name, 0.0) + error.item() * len(clip) / count
            every.append(parameters)
            before = z[-1:]
        if count == 1:
            del sums["shuffled"]
        return sums | {"nats": self.bottleneck.sample(torch.cat(every)).nats.item()}

    def save(self, folder: str | Path) -> None:
        save_folder(folder, KIND, self.config.as_dict(), self)

    @classmethod
    def load(cls, folder: str | Path) -> LatentActionModel:
        """The model in a checkpoint folder, frozen and in evaluation mode."""
        fields = read_config(folder, KIND)
        del fields["format"], fields["kind"]
        for name, part in (("encoder", EncoderConfig), ("inverse_dynamics", InverseDynamicsConfig), ("world_model", WorldModelConfig)):
            if name in fields:
                fields[name] = build(part, fields[name], folder)  # type: ignore[type-var]
        bottleneck = fields.get("bottleneck")
        if isinstance(bottleneck, dict):
            rest = {key: value for key, value in bottleneck.items() if key != "kind"}
            fields["bottleneck"] = build(config_class(bottleneck.get("kind"), str(folder)), rest, folder)  # type: ignore[type-var]
        model = cls(build(LAMConfig, fields, folder))
        load_weights(folder, model)
        return model.eval().requires_grad_(False)


def resize(images_BHWC: Tensor, size: int) -> Tensor:
    """uint8 images (B, H, W, 3), cropped to the central square and resized with antialiasing to (B, size, size, 3)."""
    height, width = images_BHWC.shape[1:3]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = images_BHWC[:, top : top + edge, left : left + edge].permute(0, 3, 1, 2).float()
    square = F.interpolate(square, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return square.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
