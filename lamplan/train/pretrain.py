"""`lamplan pretrain`: unlabelled video in, a checkpoint out. Nothing here reads an action."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lamplan.errors import InputError
from lamplan.lam import LatentActionModel
from lamplan.models.encoder import Encoder
from lamplan.models.masked import MaskedPrediction
from lamplan.train.card import write_card
from lamplan.train.clips import Source, Streaming, new_sampler
from lamplan.train.config import PretrainConfig
from lamplan.train.data import frame_store
from lamplan.train.loop import Budget, Precision, Trained, train


def pretrain(config: PretrainConfig, data: list[Path], out: Path, *, budget: Budget, in_domain: list[Path] | None = None,
             share: float = 0.5, start: Path | None = None, encoder_from: Path | None = None, encoder_only: bool = False,
             cache: Path | None = None, device: str = "cpu", precision: Precision = "fp32",
             stream: Streaming | None = None) -> LatentActionModel:
    """Trains encoder and latent action model on folders, lists or shards of video and writes the checkpoint `out`.

    `in_domain` folders are mixed in by `share` of the clips. `start` goes on from a whole checkpoint (its sizes replace
    those of the recipe, its encoder stays as it is); `encoder_from` takes only the frozen encoder; `encoder_only` spends the whole
    budget on the encoder and leaves the rest untrained, for other runs to take it from. `out/run` keeps state
    and curves, from which a killed run goes on. `device` is torch's name of it; on an accelerator the clips lie in its memory.
    Frames and features are made once and kept under `cache`; with `stream` they are made when they are needed and not kept.
    """
    if not 0 < share < 1:
        raise InputError(f"the in-domain share must lie between 0 and 1, found {share}.")
    run, cache = out / "run", cache or out / "run" / "cache"
    source = start or encoder_from
    loaded = None if source is None else LatentActionModel.load(source)
    if loaded is not None:
        config = replace(config, lam=loaded.config if start else replace(config.lam, encoder=loaded.config.encoder))
    torch.manual_seed(config.seed)
    model = LatentActionModel(config.lam).to(device)
    size, fps = config.lam.encoder.image_size, config.lam.rate_hz
    open_store: Callable[[Path, Path, int, float], Source] = stream.store if stream else frame_store
    wild = [open_store(folder, cache, size, fps) for folder in data]
    extra = [open_store(folder, cache, size, fps) for folder in in_domain or []]

    lam_budget = budget
    stages: dict[str, Trained] = {}
    if loaded is None:
        encoder_share = 1.0 if encoder_only else config.encoder_share
        encoder_budget = Budget(steps=budget.steps and max(1, round(budget.steps * encoder_share)),
                                minutes=budget.minutes and budget.minutes * encoder_share)
        if not encoder_only:
            lam_budget = Budget(steps=budget.steps, minutes=budget.minutes and budget.minutes * (1 - encoder_share))
        near = [store.to(device) for store in wild]
        stages["encoder"] = train_encoder(model.encoder, near, config, encoder_budget, run / "encoder", precision)
        standardise(model.encoder, near)
    else:
        model.encoder.load_state_dict(loaded.encoder.state_dict())
    model.encoder.eval().requires_grad_(False)
    if start is not None and loaded is not None:
        model.load_state_dict(loaded.state_dict())

    recipe = asdict(config) | {"lam": config.lam.as_dict()}
    if encoder_only:
        model.save(out)
        videos = {folder.name: store.describe() for folder, store in zip(data, wild, strict=True)}
        write_card(out, "Encoder", {"Video": videos, "Recipe": recipe}, stages)
        return model

    names = [folder.name for folder in [*data, *(in_domain or [])]]
    features = [frames.encoded(model.encoder, cache, name) for frames, name in zip(wild + extra, names, strict=True)]
    shares = _shares([store.weight for store in features], len(wild), share)
    near = [store.to(device) for store in features]
    stages["latent action model"] = train_lam(model, near, names, shares, config, lam_budget, run / "lam", precision)
    model.save(out)
    frames = {name: f"{store.describe()}, {share_ / sum(shares):.0%} of the training clips"
              for name, store, share_ in zip(names, features, shares, strict=True)}
    write_card(out, "Latent action model", {"Video": frames, "Started from": {"checkpoint": source.name} if source else {},
                                            "Recipe": recipe}, stages)
    return model


def train_encoder(encoder: Encoder, stores: Sequence[Source], config: PretrainConfig, budget: Budget, out: Path,
                  precision: Precision = "fp32") -> Trained:
    """Masked prediction on pairs of frames a step apart."""
    module = MaskedPrediction(encoder, config.masked).to(encoder.pixel_mean.device)
    sampler = new_sampler(stores, [store.weight for store in stores], 2, config.seed, "encoder")
    held_out = torch.cat([store.validation(2, 128) for store in stores])

    def loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return module.loss(sampler.draw(step, config.encoder_batch))

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        torch.manual_seed(0)  # the same masks every time
        return {"masked": module.loss(held_out)[0].item()}

    done = train(module, loss, budget, out, title="encoder", config=config.optimiser, seed=config.seed, validate=validate,
                 validate_every=500, after_step=module.update_target, precision=precision)
    if module.teacher is not None:
        encoder.load_state_dict(module.teacher.state_dict())
    return done


@torch.inference_mode()
def standardise(encoder: Encoder, stores: Sequence[Source], frames: int = 2048) -> None:
    """Measures mean and standard deviation of every feature channel, so that features come out at unit variance."""
    rows = torch.cat([store.validation(1, frames // len(stores))[:, 0] for store in stores])
    raw = torch.cat([encoder.tokens(encoder.patchify(part)) for part in rows.split(64)]).flatten(0, 1)
    encoder.feature_mean.copy_(raw.mean(0))
    encoder.feature_std.copy_(raw.std(0).clamp_min(1e-4))


class _Joint(nn.Module):
    """The two parts that learn together."""

    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.inverse_dynamics, self.world_model = model.inverse_dynamics, model.world_model


def train_lam(model: LatentActionModel, stores: Sequence[Source], names: list[str], shares: list[float], config: PretrainConfig,
              budget: Budget, out: Path, precision: Precision = "fp32") -> Trained:
    """Inverse dynamics and world model jointly, on features; reports for each folder what tells it from a copier."""
    sampler = new_sampler(stores, shares, config.clip_frames, config.seed, "latent action model", config.max_stride)
    held_out = {name: store.validation(config.clip_frames, 64).float() for name, store in zip(names, stores, strict=True)}

    def loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        imagined = torch.rand(()).item() < config.imagined
        return model.loss(sampler.draw(step, config.batch).float(), imagined)

    def validate() -> dict[str, float]:
        return {f"{name}/{key}": value for name, clip in held_out.items() for key, value in model.diagnose(clip).items()}

    return train(_Joint(model), loss, budget, out, title="latent action model", config=config.optimiser, seed=config.seed,
                 validate=validate, validate_every=250, precision=precision)


def _shares(sizes: list[float], wild: int, share: float) -> list[float]:
    """Probability of each store: in-domain ones `share` in all, each group in proportion to its weight."""
    if len(sizes) == wild:
        return sizes
    groups = ((sizes[:wild], 1 - share), (sizes[wild:], share))
    return [weight * size / sum(group) for group, weight in groups for size in group]
