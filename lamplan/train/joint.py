"""Joint training (the paper's open question 3): the encoder learns with the model that predicts its features.

Its target is a slow copy of itself. Features alone would agree best by standing still, so what is predicted must also paint the next
frame: the motion that the latent carries has to pass through the features.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamplan.errors import InputError
from lamplan.lam import LatentActionModel, Price
from lamplan.train.distribution import World

STATISTICS = 0.99  # momentum of mean and deviation by which features are standardised


@dataclass(frozen=True)
class JointConfig:
    ema: float = 0.998  # momentum of the target encoder, which is also the one that is kept
    pixels: float = 1.0  # weight of the next frame's pixels, the guard against collapse; L1 in units of the pixels' deviation

    def __post_init__(self) -> None:
        if not (0 <= self.ema < 1 and self.pixels >= 0):
            raise InputError(f"joint training needs 0 <= ema < 1 and pixels >= 0, found {self.ema} and {self.pixels}.")


class JointModel(nn.Module):
    """What learns: a latent action model with its encoder, a slow copy of that encoder, and a linear map from features to pixels."""

    def __init__(self, model: LatentActionModel, config: JointConfig) -> None:
        super().__init__()
        self.config, self.model = config, model
        self.target = copy.deepcopy(model.encoder).requires_grad_(False)
        model.encoder.requires_grad_(True)
        self.paint = nn.Linear(model.config.encoder.width, model.config.encoder.token_values)
        self._seen: list[Tensor] = []  # of each part of this step: mean and mean square (2, D) of the target's raw features

    def features(self, frames: Tensor) -> Tensor:
        """Features (B, T, P, D) of frames (B, T, H, W, 3) uint8 as the encoder sees them now, without a gradient."""
        with torch.no_grad():  # no inference mode: sharded parameters that are first gathered there could not be trained
            return self.model.encoder.clip(frames).float()

    def loss(self, frames: Tensor, imagined: bool, price: Price | None) -> tuple[Tensor, dict[str, Tensor]]:
        """L1 of the next frames' features, as the target encoder has them, and of their pixels, plus the price of the latent."""
        encoder = self.model.encoder
        with torch.no_grad():
            raw = self.target.clip_tokens(frames).float()
            target = self.target.standardised(raw)
            pixels = encoder.clip_pixels(frames)
            if self.training:
                self._seen.append(torch.stack([raw.mean((0, 1, 2)), raw.square().mean((0, 1, 2))]))
        done = self.model.outcome(encoder.clip(frames).float(), imagined, price)
        l1 = F.l1_loss(done.predicted, target[:, 1:])
        painted = F.l1_loss(self.paint(done.predicted).float(), pixels[:, 1:])
        return l1 + self.config.pixels * painted + done.penalty, {"rollout_l1" if imagined else "l1": l1, "pixels": painted,
                                                                  "nats": done.nats}

    @torch.no_grad()
    def after_step(self, world: World) -> None:
        """Moves the target encoder towards the encoder, and the statistics of both towards those of the step's whole batch."""
        for slow, fast in zip(self.target.parameters(), self.model.encoder.parameters(), strict=True):
            slow.lerp_(fast, 1 - self.config.ema)
        mine = torch.stack(self._seen).mean(0)
        self._seen.clear()
        whole = torch.tensor(world.total(mine.flatten().tolist()), dtype=torch.float64).view(2, -1) / world.size
        mean, square = whole.to(mine.device)
        deviation = (square - mean.square()).clamp_min(1e-8).sqrt()
        for encoder in (self.target, self.model.encoder):
            encoder.feature_mean.lerp_(mean.float(), 1 - STATISTICS)
            encoder.feature_std.lerp_(deviation.float(), 1 - STATISTICS)


def kept_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a `JointModel`'s state that of the latent action model, with the slow encoder in the place of the fast one."""
    model = {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}
    return model | {"encoder." + name.removeprefix("target."): tensor for name, tensor in state.items() if name.startswith("target.")}


@torch.inference_mode()
def collapse(features: Tensor) -> dict[str, float]:
    """What tells features (B, T, P, D) that still say something from collapsed ones: their deviation among clips, at the same place and
    time, averaged over channels (1 or a little less when standardised, 0 when all clips look alike), and their effective rank, the
    exponential of the entropy of the covariance's spectrum (1 to D; Roy and Vetterli 2007)."""
    apart = features.float() - features.float().mean(0)
    spectrum = torch.linalg.svdvals(torch.cov(apart.flatten(0, 2).T))
    share = (spectrum / spectrum.sum().clamp_min(1e-12)).clamp_min(1e-12)
    return {"feature_std": apart.square().mean((0, 1, 2)).sqrt().mean().item(),
            "effective_rank": torch.exp(-(share * share.log()).sum()).item()}
