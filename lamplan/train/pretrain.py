"""`lamplan pretrain`: unlabelled video in, a checkpoint out. Nothing here reads an action."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lamplan.errors import InputError
from lamplan.lam import LatentActionModel, Price
from lamplan.models.compiled import compile_blocks
from lamplan.models.encoder import Encoder
from lamplan.models.masked import MaskedPrediction
from lamplan.precision import Precision
from lamplan.train.card import write_card
from lamplan.train.clips import Source, Streaming, new_sampler
from lamplan.train.config import PretrainConfig
from lamplan.train.data import ClipStore, feature_store, frame_store
from lamplan.train.distribution import ALONE, Execution, World, whole_state
from lamplan.train.facts import distinct, run_facts
from lamplan.train.features import clip_features
from lamplan.train.flops import training_flops
from lamplan.train.joint import JointModel, collapse, kept_state
from lamplan.train.loop import Budget, Trained, train
from lamplan.train.snapshots import settle
from lamplan.weights import fingerprint, module_fingerprint


def pretrain(config: PretrainConfig, data: list[Path], out: Path, *, budget: Budget, in_domain: list[Path] | None = None,
             share: float = 0.5, start: Path | None = None, encoder_from: Path | None = None, latents_from: Path | None = None,
             encoder_only: bool = False, cache: Path | None = None, device: str = "cpu", precision: Precision = "fp32",
             world: World = ALONE, stream: Streaming | None = None) -> LatentActionModel:
    """Trains encoder and latent action model on folders, lists or shards of video and writes the checkpoint `out`.

    `in_domain` folders are mixed in by `share` of the clips. `start` goes on from a whole checkpoint (its sizes replace
    those of the recipe, its encoder stays as it is unless it learns jointly); `encoder_from` takes only the encoder; `latents_from` takes
    encoder, inverse dynamics and bottleneck, which stay as they are, and trains the recipe's world model on their latents, so that what
    was fitted to them stays valid; `encoder_only` spends the whole budget on the encoder and leaves the rest untrained, for other runs to
    take it from. A recipe with encoder weights trains no encoder: it is read, standardised on the video, and saved with the rest, so that a
    checkpoint loads without the file. With a table `[joint]` in the recipe the encoder, wherever it comes from, then goes on learning with
    the rest, from frames. `out/run` keeps state and curves, from which a killed run goes on, also with a larger budget;
    InputError where that is of another run. `device` is torch's name of it; on an accelerator the clips lie in its memory.
    The processes of `world` share every batch, and the folders. Frames and features are made once and kept under `cache`; with `stream`
    they are made when they are needed and not kept.
    """
    if not 0 < share < 1:
        raise InputError(f"the in-domain share must lie between 0 and 1, found {share}.")
    run, cache = out / "run", cache or out / "run" / "cache"
    source = start or encoder_from or latents_from
    loaded = None if source is None else LatentActionModel.load(source)
    if loaded is not None:
        kept = loaded.config
        lam = replace(kept, max_stride=config.lam.max_stride) if start else replace(config.lam, encoder=kept.encoder)
        if latents_from:
            lam = replace(lam, inverse_dynamics=kept.inverse_dynamics, bottleneck=kept.bottleneck)
        config = replace(config, lam=lam)
    if latents_from and config.joint is not None:
        raise InputError(f"the latents of {latents_from} are of its encoder as it is: a recipe with a table [joint] would change it.")
    foreign = loaded is None and (config.encoder_name or config.encoder_weights)
    if foreign and (encoder_only or not config.encoder_weights):
        raise InputError(f"the recipe's encoder {config.encoder_name or ''} is read from weights, not trained: give them as `weights` in "
                         "[encoder] or --encoder-weights, and no --encoder-only.")
    torch.manual_seed(config.seed)
    model = LatentActionModel(config.lam, config.encoder_weights if foreign else None).to(device)
    size, fps = config.lam.encoder.image_size, config.lam.rate_hz * config.lam.encoder.step_frames
    open_store: Callable[[Path, Path, int, float], Source] = stream.store if stream else frame_store
    with world.leader_first():
        wild = [open_store(folder, cache, size, fps) for folder in data]
        extra = [open_store(folder, cache, size, fps) for folder in in_domain or []]
    execution = Execution(precision, config.parallel, config.compile, config.recompute)
    names = distinct([folder.name for folder in [*data, *(in_domain or [])]])
    recipe = asdict(config) | {"lam": config.lam.as_dict()}
    given = {"--from": start, "--encoder-from": encoder_from, "--latents-from": latents_from}
    others = {option: fingerprint(folder) for option, folder in given.items() if folder}
    others |= {"encoder weights": module_fingerprint(model.encoder)} if foreign else {}
    others |= {"--share": f"{share} of {', '.join(names[len(data) :])}"} if in_domain else {}
    settle(run, run_facts(recipe, names, wild + extra, precision=precision, **others))

    lam_budget = budget
    stages: dict[str, Trained] = {}
    if foreign:
        tqdm.write(f"encoder: {model.encoder_read}")
        standardise(model.encoder, wild)
    elif loaded is None:
        encoder_share = 1.0 if encoder_only else config.encoder_share
        encoder_budget = Budget(steps=budget.steps and max(1, round(budget.steps * encoder_share)),
                                minutes=budget.minutes and budget.minutes * encoder_share)
        if not encoder_only:
            lam_budget = Budget(steps=budget.steps, minutes=budget.minutes and budget.minutes * (1 - encoder_share))
        near = [store.to(device) if isinstance(store, ClipStore) else store for store in wild]
        stages["encoder"] = train_encoder(model.encoder, near, config, encoder_budget, run / "encoder", execution, world)
        standardise(model.encoder, near)
    else:
        model.encoder.load_state_dict(loaded.encoder.state_dict())
    model.encoder.eval().requires_grad_(False)
    if start is not None and loaded is not None:
        model.load_state_dict(loaded.state_dict())
    if latents_from is not None and loaded is not None:
        for part, known in ((model.inverse_dynamics, loaded.inverse_dynamics), (model.bottleneck, loaded.bottleneck)):
            part.load_state_dict(known.state_dict())
            part.eval().requires_grad_(False)

    if encoder_only:
        if world.leads:
            model.save(out)
            videos = {name: store.describe() for name, store in zip(names, wild, strict=False)}
            write_card(out, "Encoder", {"Video": videos, "Recipe": recipe}, stages)
        return model

    stores, frames = wild + extra, config.clip_frames
    if config.encode == "once" and stream is None and config.joint is None:
        with world.leader_first():
            stores = [feature_store(store, model.encoder, cache, name).to(device) for store, name in zip(stores, names, strict=True)
                      if isinstance(store, ClipStore)]
    else:
        frames *= config.lam.encoder.step_frames  # they are encoded clip by clip
    shares = _shares([store.weight for store in stores], len(wild), share)
    sampler = new_sampler(stores, shares, frames, config.seed, "latent action model", model.config.max_stride, world.size)
    held_out = {name: store.validation(frames, 64) for name, store in zip(names, stores, strict=True)}
    stages["latent action model"] = train_lam(model, sampler, held_out, config, lam_budget, run / "lam", execution, world)
    if world.leads:
        model.save(out)
        described = {name: f"{store.describe()}, {share_ / sum(shares):.0%} of the training clips"
                     for name, store, share_ in zip(names, stores, shares, strict=True)}
        started = {"checkpoint": source.name} if source else {"encoder": model.encoder_read} if foreign else {}
        write_card(out, "Latent action model", {"Video": described, "Started from": started, "Recipe": recipe}, stages)
    return model


def train_encoder(encoder: Encoder, stores: Sequence[Source], config: PretrainConfig, budget: Budget, out: Path,
                  execution: Execution | None = None, world: World = ALONE) -> Trained:
    """Masked prediction on pairs of frames a step apart."""
    # What is trained may end sharded or compiled: it is a copy, and the encoder gets its weights.
    module = MaskedPrediction(copy.deepcopy(encoder), config.masked).to(encoder.pixel_mean.device)
    sampler = new_sampler(stores, [store.weight for store in stores], 2, config.seed, "encoder", every=world.size)
    held_out = torch.cat([store.validation(2, 128) for store in stores]).to(encoder.pixel_mean.device)  # a stream's lie on the CPU

    def loss(pairs: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return module.loss(pairs)

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        torch.manual_seed(0)  # the same masks every time
        return {"masked": module.loss(held_out)[0].item()}

    micro = config.micro_batch and max(1, config.encoder_batch * config.micro_batch // config.batch)
    done = train(module, sampler.draw, loss, budget, out, batch=config.encoder_batch, micro_batch=micro, title="encoder",
                 config=config.optimiser, seed=config.seed, validate=validate, validate_every=500, after_step=module.update_target,
                 execution=execution, world=world)
    prefix = "encoder." if module.teacher is None else "teacher."
    encoder.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in whole_state(module).items() if name.startswith(prefix)})
    return done


@torch.inference_mode()
def standardise(encoder: Encoder, stores: Sequence[Source], frames: int = 2048) -> None:
    """Measures mean and standard deviation of every feature channel on the training video, so that features come out at unit variance."""
    step, device = encoder.config.step_frames, encoder.pixel_mean.device
    rows = torch.cat([store.training(step, frames // len(stores)) for store in stores])
    raw = torch.cat([encoder.clip_tokens(part.to(device)) for part in rows.split(64)]).flatten(0, 2)
    encoder.feature_mean.copy_(raw.mean(0))
    encoder.feature_std.copy_(raw.std(0).clamp_min(1e-4))


class Draws(Protocol):
    """Where clips come from: `Sampler`, or any other whose draw depends on a seed, the step and the size alone."""

    def draw(self, step: int, batch: int) -> Tensor:
        """Clips of frames (batch, T, H, W, 3) uint8, or of their features (batch, T, P, D)."""


class Joint(nn.Module):
    """The parts that learn together on the features of a frozen encoder."""

    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.inverse_dynamics, self.world_model, self.bottleneck = model.inverse_dynamics, model.world_model, model.bottleneck


def train_lam(model: LatentActionModel, draws: Draws, held_out: dict[str, Tensor], config: PretrainConfig, budget: Budget, out: Path,
              execution: Execution | None = None, world: World = ALONE) -> Trained:
    """Inverse dynamics, world model and bottleneck together, and with `config.joint` the encoder, whose clips are frames then; reports
    for each set of held-out clips what tells it from a copier."""
    # What is trained may end sharded or compiled: it is a copy, and the model gets its weights.
    student = copy.deepcopy(model)
    device = model.encoder.pixel_mean.device
    with_encoder = None if config.joint is None else JointModel(student, config.joint)
    joint, seen_by = (with_encoder, with_encoder.target) if with_encoder else (Joint(student), student.encoder)

    def frozen_loss(clip: Tensor, imagined: bool, priced: Price | None) -> tuple[Tensor, dict[str, Tensor]]:
        return student.loss(clip_features(student.encoder, clip), imagined, priced)

    loss_of = with_encoder.loss if with_encoder else frozen_loss

    def price(clips: list[Tensor]) -> list[tuple[Tensor, Price]]:
        encoded = [with_encoder.features(clip) if with_encoder else clip_features(student.encoder, clip) for clip in clips]
        return list(zip(clips if with_encoder else encoded, student.price(encoded), strict=True))

    def loss(part: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        clip, priced = part if isinstance(part, tuple) else (part, None)
        imagined = np.random.default_rng((config.seed, step, 1)).random() < config.imagined
        return loss_of(clip, bool(imagined), priced)

    def validate() -> dict[str, float]:
        each = {name: _diagnose(student, seen_by, clips, config) for name, clips in held_out.items()}
        return {f"{name}/{key}": value for name, values in each.items() for key, value in values.items()}

    def flops(imagined: bool) -> int:
        one = next(iter(held_out.values()))[:1].to(device)
        return training_flops(joint, lambda: loss_of(one, imagined, None)[0])

    def after_step() -> None:
        student.bottleneck.after_step()
        if with_encoder:
            with_encoder.after_step(world)

    micro = config.micro_batch or config.batch
    in_parts = student.bottleneck.whole_batch and config.batch // micro > world.size
    clip_flops = flops(False) * (1 - config.imagined) + (flops(True) * config.imagined if config.imagined else 0)
    if execution is not None and execution.compile and not with_encoder:
        compile_blocks(student.encoder)  # which is no part of what trains
    done = train(joint, draws.draw, loss, budget, out, batch=config.batch, micro_batch=config.micro_batch, title="latent action model",
                 config=config.optimiser, seed=config.seed, prepare=price if in_parts else None, validate=validate, validate_every=250,
                 after_step=after_step, execution=execution, world=world, clip_flops=clip_flops)
    trained = whole_state(joint)
    model.load_state_dict({**model.state_dict(), **(kept_state(trained) if with_encoder else trained)})
    return done


def _diagnose(model: LatentActionModel, encoder: Encoder, clips: Tensor, config: PretrainConfig) -> dict[str, float]:
    """`LatentActionModel.diagnose` of all clips, some at a time; of an encoder that learns, whether its features collapse as well."""
    device, size = encoder.pixel_mean.device, config.validation_batch
    found = model.diagnose_parts(lambda first, last: clip_features(encoder, clips[first:last].to(device)), len(clips), size)
    if config.joint:
        told = [(collapse(clip_features(encoder, part.to(device))), len(part) / len(clips)) for part in clips.split(size)]
        found |= {key: sum(each[key] * share for each, share in told) for key in told[0][0]}
    return found


def _shares(sizes: list[float], wild: int, share: float) -> list[float]:
    """Probability of each store: in-domain ones `share` in all, each group in proportion to its weight."""
    if len(sizes) == wild:
        return sizes
    groups = ((sizes[:wild], 1 - share), (sizes[wild:], share))
    return [weight * size / sum(group) for group, weight in groups for size in group]
