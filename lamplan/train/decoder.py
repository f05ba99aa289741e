"""`lamplan decoder`: a decoder for the frozen encoder of a checkpoint, from video alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lamplan.lam import LatentActionModel
from lamplan.models.decoder import Decoder
from lamplan.models.encoder import Encoder
from lamplan.precision import Precision
from lamplan.train.card import write_section
from lamplan.train.clips import Source, Streaming, new_sampler
from lamplan.train.config import DecoderRecipe
from lamplan.train.data import frame_store
from lamplan.train.distribution import ALONE, Execution, World, whole_state
from lamplan.train.facts import distinct, run_facts
from lamplan.train.features import clip_features
from lamplan.train.loop import Budget, Trained, train
from lamplan.train.perceptual import lpips_distance
from lamplan.train.snapshots import settle
from lamplan.weights import module_fingerprint

HELD_OUT = 64  # clips per folder that are decoded at each validation


def fit_decoder(checkpoint: Path, data: list[Path], recipe: DecoderRecipe, *, budget: Budget, run: Path, cache: Path | None = None,
                device: str = "cpu", precision: Precision = "fp32", world: World = ALONE, stream: Streaming | None = None) -> Decoder:
    """Trains a decoder on folders, lists or shards of video and writes it into `checkpoint`, with its section of the card.

    `run` keeps state and curves, from which a killed run goes on, also with a larger budget; InputError where that is of another
    run. The frames are kept as well (under `cache`), unless they come from a `stream`.
    """
    model = LatentActionModel.load(checkpoint).to(device)
    config = model.config.encoder
    open_store: Callable[[Path, Path, int, float], Source] = stream.store if stream else frame_store
    with world.leader_first():
        stores = [open_store(folder, cache or run / "cache", config.image_size, model.config.rate_hz * config.step_frames)
                  for folder in data]
    torch.manual_seed(recipe.seed)
    decoder = Decoder(recipe.decoder, config).to(device)
    names = distinct([folder.name for folder in data])
    settle(run, run_facts(asdict(recipe), names, stores, precision=precision,
                          encoder=f"{module_fingerprint(model.encoder)} in mode {config.mode}"))
    done = train_decoder(decoder, model.encoder, stores, names, recipe, budget, run,
                         Execution(precision, recipe.parallel, recipe.compile, recipe.recompute), world)
    if world.leads:
        decoder.save(checkpoint, model.encoder)
        videos = {name: store.describe() for name, store in zip(names, stores, strict=True)}
        write_section(checkpoint, "Decoder", {"Video": videos, "Recipe": asdict(recipe)}, {"decoder": done})
    return decoder


def train_decoder(decoder: Decoder, encoder: Encoder, stores: list[Source], names: list[str], recipe: DecoderRecipe, budget: Budget,
                  out: Path, execution: Execution | None = None, world: World = ALONE) -> Trained:
    """L1 of pixels, and LPIPS if the recipe gives it a weight; reports L1 and PSNR of held-out clips of every store."""
    module, device = copy.deepcopy(decoder), encoder.pixel_mean.device  # what is trained may end sharded or compiled
    step_frames = encoder.config.step_frames
    frames = recipe.clip_frames * step_frames
    sampler = new_sampler(stores, [store.weight for store in stores], frames, recipe.seed, "decoder", every=world.size)
    held_out = {name: store.validation(frames, HELD_OUT) for name, store in zip(names, stores, strict=True)}
    perceptual = lpips_distance(device) if recipe.perceptual else None

    def compare(clip: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded pictures and the true ones, (N, H, W, 3) in 0..1."""
        decoded = module(clip_features(encoder, clip))
        return decoded.flatten(0, 1), (clip[:, step_frames - 1 :: step_frames] / 255.0).flatten(0, 1)

    def loss(clip: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        decoded, true = compare(clip)
        l1 = F.l1_loss(decoded, true)
        if perceptual is None:
            return l1, {"l1": l1}
        distance = perceptual(decoded, true).mean()
        return l1 + recipe.perceptual * distance, {"l1": l1, "lpips": distance}

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        found = {}
        for name, clips in held_out.items():
            pairs = [compare(part.to(device)) for part in clips.split(recipe.batch)]
            found[f"{name}/l1"] = float(np.mean([F.l1_loss(*pair).item() for pair in pairs]))
            squared = torch.cat([(decoded.clamp(0, 1) - true).square().mean((1, 2, 3)) for decoded, true in pairs])
            found[f"{name}/psnr_db"] = (-10 * squared.log10()).mean().item()
        return found

    done = train(module, sampler.draw, loss, budget, out, batch=recipe.batch, micro_batch=recipe.micro_batch, title="decoder",
                 config=recipe.optimiser, seed=recipe.seed, validate=validate, validate_every=500, execution=execution, world=world)
    decoder.load_state_dict(whole_state(module))
    return done
