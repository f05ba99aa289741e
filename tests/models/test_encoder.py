"""The encoder: the shipped one as it always was, the three ways to take a clip, and videos of any length."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamplan.errors import CheckpointError, InputError
from lamplan.lam import LatentActionModel
from lamplan.models.encoder import Encoder, EncoderConfig, Mode
from lamplan.models.layers import grid_positions, rope_tables
from lamplan.models.streaming import stream_features
from lamplan.video import stream_clip, write_video
from lamplan.weights import build, module_fingerprint
from tests.models.released import TINY, TINY_21

SHIPPED = Path("checkpoints/wild-small")


def filled(config: EncoderConfig) -> Encoder:
    """An encoder with no weight at zero."""
    torch.manual_seed(0)
    encoder = Encoder(config).eval().requires_grad_(False)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.2)
    encoder.feature_mean.normal_()
    encoder.feature_std.uniform_(0.5, 2.0)
    return encoder


def frames(*shape: int) -> Tensor:
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def first_edition(w: dict[str, Tensor], images: Tensor) -> Tensor:
    """What the encoder of single frames computed before it knew of tubelets: 128 px, patch 16, width 192, 4 blocks of 6 heads."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]) * 255, torch.tensor([0.229, 0.224, 0.225]) * 255
    x = ((images.to(torch.float32) - mean) / std).unflatten(1, (8, 16)).unflatten(3, (8, 16))
    x = F.linear(x.transpose(2, 3).flatten(3).flatten(1, 2), w["patches.weight"], w["patches.bias"])
    cos, sin = rope_tables(grid_positions(1, 8), 32)

    def rotated(x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)

    for i in range(4):
        part = {name.removeprefix(f"blocks.{i}."): tensor for name, tensor in w.items() if name.startswith(f"blocks.{i}.")}
        y = F.layer_norm(x, (192,), part["norm1.weight"], part["norm1.bias"], 1e-6)
        q, k, v = F.linear(y, part["attn.qkv.weight"], part["attn.qkv.bias"]).unflatten(-1, (3, 6, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(rotated(q), rotated(k), v).transpose(1, 2).flatten(2)
        x = x + F.linear(y, part["attn.proj.weight"], part["attn.proj.bias"])
        y = F.layer_norm(x, (192,), part["norm2.weight"], part["norm2.bias"], 1e-6)
        x = x + F.linear(F.gelu(F.linear(y, part["mlp.0.weight"], part["mlp.0.bias"])), part["mlp.2.weight"], part["mlp.2.bias"])
    x = F.layer_norm(x, (192,), w["norm.weight"], w["norm.bias"], 1e-6)
    return (x - w["feature_mean"]) / w["feature_std"]


@torch.inference_mode()
def test_the_shipped_encoder_is_what_it_was_to_the_bit(root: Path) -> None:
    """Caches, controllers and baselines name it by its fingerprint, and its features must not have moved."""
    encoder = LatentActionModel.load(root / SHIPPED).encoder
    assert module_fingerprint(encoder) == "a2d49974f43e0809"
    images = frames(5, 128, 128)
    expected = first_edition(encoder.state_dict(), images)
    assert torch.equal(encoder(images), expected)
    assert torch.equal(encoder.clip(images[None])[0], expected)


def test_configurations_may_lack_only_what_came_later() -> None:
    early = {name: asdict(TINY)[name] for name in ("image_size", "patch", "width", "depth", "heads")}
    assert build(EncoderConfig, early, "here") == EncoderConfig(image_size=32, patch=8, width=24, depth=2, heads=2)
    with pytest.raises(CheckpointError, match="needs the entries"):
        build(EncoderConfig, {name: value for name, value in early.items() if name != "heads"}, "here")
    with pytest.raises(CheckpointError, match="needs the entries"):
        build(EncoderConfig, early | {"hads": 2}, "here")


@pytest.mark.parametrize("config", [TINY, TINY_21], ids=["2", "2.1"])
def test_modes_differ_in_what_a_step_sees(config: EncoderConfig) -> None:
    clip = frames(2, 6, 32, 32)
    doubled, pairs, causal = (filled(replace(config, mode=mode)) for mode in ("doubled", "pairs", "causal"))
    assert doubled.clip(clip).shape == (2, 6, 16, 24) and pairs.clip(clip).shape == causal.clip(clip).shape == (2, 3, 16, 24)
    torch.testing.assert_close(doubled.clip(clip)[:, 3], doubled(clip[:, 3]))
    # A pair of equal frames is a doubled frame.
    torch.testing.assert_close(pairs.clip(clip.repeat_interleave(2, dim=1)), doubled.clip(clip))
    # The first pair sees itself alone, later ones see more.
    torch.testing.assert_close(causal.clip(clip)[:, 0], pairs.clip(clip)[:, 0], rtol=1e-4, atol=1e-5)
    assert (causal.clip(clip)[:, 1] - pairs.clip(clip)[:, 1]).abs().max() > 1e-3
    changed = clip.clone()
    changed[:, 4:] = 255 - changed[:, 4:]
    before, after = causal.clip(clip), causal.clip(changed)
    torch.testing.assert_close(before[:, :2], after[:, :2], rtol=1e-4, atol=1e-5)
    assert (before[:, 2] - after[:, 2]).abs().max() > 1e-3


def test_the_causal_encoder_of_a_clip_is_that_of_its_beginning() -> None:
    causal, clip = filled(replace(TINY, mode="causal")), frames(1, 8, 32, 32)
    torch.testing.assert_close(causal.clip(clip[:, :4]), causal.clip(clip)[:, :2], rtol=1e-4, atol=1e-5)


def test_kept_tokens_of_a_clip_stand_at_their_own_places() -> None:
    encoder, clip = filled(TINY), frames(1, 4, 32, 32)
    pixels, order = encoder.patchify(clip), torch.randperm(32)[None]
    every = encoder.tokens(pixels, grid=(2, 4, 4))
    kept = encoder.tokens(pixels, order, grid=(2, 4, 4))
    torch.testing.assert_close(kept, every.gather(1, order[..., None].expand_as(every)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("change", "match"), [
    ({"image_size": 30}, "multiple of patch"), ({"heads": 8}, "must be even"), ({"tubelet": 0}, "at least 1"),
    ({"rope": "spiral"}, "rope is 'spiral'"), ({"mode": "triples"}, "mode is 'triples'"),
    ({"tubelet": 1, "mode": "pairs"}, "this one's tubelet is 1")])
def test_configurations_that_make_no_encoder_are_refused(change: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        Encoder(replace(TINY, **change))  # type: ignore[arg-type]


def test_clips_that_do_not_fit_are_refused() -> None:
    encoder = filled(replace(TINY, mode="pairs"))
    for shape, match in (((1, 3, 32, 32), "multiple of 2 frames, found 3"), ((1, 2, 32, 30), "multiples of 8 px"), ((1, 2, 4), "images")):
        with pytest.raises(InputError, match=match):
            encoder.clip(frames(*shape))
    with pytest.raises(InputError, match="a multiple of 2 frames, found 5"):
        next(stream_features(encoder, [np.zeros((32, 32, 3), np.uint8)], chunk=5))


@pytest.mark.parametrize("mode", ["doubled", "pairs", "causal"])
def test_a_stream_is_its_chunks(mode: Mode) -> None:
    encoder, video = filled(replace(TINY, mode=mode)), frames(27, 32, 32)
    streamed = torch.cat(list(stream_features(encoder, iter(video.numpy()), chunk=8)))
    if mode != "doubled":
        video = torch.cat([video, video[-1:]])  # the last frame has no partner
    # Without attention between steps the chunks make no difference; a causal step sees what lies in its own.
    windows = video.split(8) if mode == "causal" else [video]
    torch.testing.assert_close(streamed, torch.cat([encoder.clip(part[None])[0] for part in windows]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["doubled", "causal"])
def test_memory_does_not_grow_with_the_video(mode: Mode) -> None:
    encoder = filled(replace(TINY, mode=mode, depth=1))
    living, most, largest = 0, [0], [0]

    def gone() -> None:
        nonlocal living
        living -= 1

    def camera(length: int) -> Iterator[np.ndarray]:
        nonlocal living
        for _ in range(length):
            frame = np.zeros((32, 32, 3), np.uint8)
            weakref.finalize(frame, gone)
            living += 1
            most[-1] = max(most[-1], living)
            yield frame

    def seen(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        largest[-1] = max(largest[-1], inputs[0].numel())

    encoder.patches.register_forward_pre_hook(seen)
    for length in (64, 1024):
        count = sum(len(part) for part in stream_features(encoder, camera(length), chunk=16))
        assert count == length // encoder.config.step_frames
        gc.collect()
        assert living == 0
        most.append(0)
        largest.append(0)
    assert most[0] == most[1] <= 2 * 16 + 1 and largest[0] == largest[1] > 0


def test_a_video_file_streams_into_features(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", frames(40, 32, 32).numpy(), 8.0)
    encoder = filled(TINY)
    features = torch.cat(list(stream_features(encoder, stream_clip(tmp_path / "v.mp4", fps=4.0, size=32), chunk=4)))
    assert features.shape == (20, 16, 24) and torch.isfinite(features).all()


def test_half_precision_stays_within_its_stated_error() -> None:
    """At the depth of ViT-L, its heads' width, and weights of the size that training starts with."""
    torch.manual_seed(0)
    encoder = Encoder(replace(TINY, width=256, heads=4, depth=24, image_size=64)).eval().requires_grad_(False)
    video = frames(4, 64, 64).numpy()
    exact, half = (torch.cat(list(stream_features(encoder, video, precision=precision))) for precision in ("fp32", "bf16"))
    assert half.dtype == torch.float32
    error = ((half - exact).square().mean() / exact.square().mean()).sqrt().item()
    assert 1e-4 < error < 0.02
