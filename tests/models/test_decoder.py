"""From features to pixels: where they land, what sees what, and how a checkpoint keeps its decoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lamplan import CheckpointError, InputError, LatentActionModel
from lamplan.lam import LAMConfig
from lamplan.models.decoder import Decoder, DecoderConfig, has_decoder
from lamplan.models.encoder import EncoderConfig
from lamplan.models.inverse_dynamics import InverseDynamicsConfig
from lamplan.models.vjepa2 import encoder_config
from lamplan.models.world_model import WorldModelConfig

TINY = EncoderConfig(32, 8, 24, 1, 2)
SMALL = DecoderConfig(24, 1, 2)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    LatentActionModel(LAMConfig(encoder=TINY, inverse_dynamics=InverseDynamicsConfig(24, 1, 2),
                                world_model=WorldModelConfig(24, 1, 2))).save(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_sizes() -> None:
    with torch.device("meta"):
        small, large = Decoder(DecoderConfig(), EncoderConfig()), Decoder(DecoderConfig(1024, 24, 16), encoder_config("vjepa2-vitl"))
    counts = [sum(p.numel() for p in decoder.parameters()) for decoder in (small, large)]
    assert counts == [917_120, 304_148_224]
    assert 4 * counts[0] < 4 * 2**20


def test_a_token_paints_its_own_patch() -> None:
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(24, 0, 2), TINY)
    features = torch.randn(1, 16, 24)
    other = features.clone()
    other[0, 4 * 2 + 1] += 1  # third row, second column of four
    changed = (decoder(features) != decoder(other)).any(-1)[0]
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[16:24, 8:16] = True
    assert torch.equal(changed, expected)
    # Within the patch rows come before columns, colours last, as the encoder reads them.
    pixels = decoder.head(decoder.norm(decoder.embed(features)))[0, 4 * 2 + 1].unflatten(0, (8, 8, 3))
    torch.testing.assert_close(decoder(features)[0, 16:24, 8:16], 0.5 + pixels)


def test_clips_are_decoded_step_by_step_or_with_the_steps_before() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 16, 24)
    alone, causal = Decoder(SMALL, TINY), Decoder(DecoderConfig(24, 1, 2, causal=True), TINY)
    torch.testing.assert_close(alone(features), alone(features.flatten(0, 1)).unflatten(0, (2, 3)))
    later = features.clone()
    later[:, 2] += 1
    torch.testing.assert_close(causal(later)[:, :2], causal(features)[:, :2])
    earlier = features.clone()
    earlier[:, 0] += 1
    assert (causal(earlier) - causal(features))[:, 1:].abs().amax((2, 3, 4)).min() > 1e-4
    torch.testing.assert_close(causal(features)[:, 0], causal(features[:, 0]))


def test_images_are_whole_numbers_of_the_encoders_size() -> None:
    decoder = Decoder(SMALL, TINY).requires_grad_(False)
    decoder.head.bias.fill_(9.0)
    images = decoder.decode(torch.randn(2, 3, 16, 24))
    assert images.shape == (2, 3, 32, 32, 3) and images.dtype == torch.uint8 and (images == 255).all()
    with pytest.raises(InputError, match=r"P, D = 16, 24; found \(2, 15, 24\)"):
        decoder(torch.randn(2, 15, 24))
    with pytest.raises(InputError, match="even multiple"):
        Decoder(DecoderConfig(24, 1, 5), TINY)


def test_a_checkpoint_keeps_its_decoder_and_needs_none(checkpoint: Path) -> None:
    lam, before = LatentActionModel.load(checkpoint), (checkpoint / "model.safetensors").read_bytes()
    assert not has_decoder(checkpoint)
    with pytest.raises(CheckpointError, match=r"has no decoder \(decoder.json and decoder.safetensors\).*lamplan decoder"):
        Decoder.load(checkpoint)
    decoder = Decoder(DecoderConfig(24, 1, 2, causal=True), TINY)
    decoder.save(checkpoint, lam.encoder)
    assert (checkpoint / "model.safetensors").read_bytes() == before and has_decoder(checkpoint)
    loaded, s = Decoder.load(checkpoint), torch.randn(1, 2, 16, 24)
    assert torch.equal(loaded(s), decoder(s)) and not any(p.requires_grad for p in loaded.parameters())
    assert LatentActionModel.load(checkpoint).config == lam.config
    (checkpoint / "decoder.safetensors").write_bytes(b"short")
    with pytest.raises(CheckpointError, match=r"decoder\.safetensors cannot be read"):
        Decoder.load(checkpoint)


def test_a_decoder_of_other_features_is_refused(checkpoint: Path) -> None:
    lam = LatentActionModel.load(checkpoint)
    Decoder(SMALL, TINY).save(checkpoint, lam.encoder)
    lam.world_model.embed.weight.data += 1  # not what a decoder reads
    lam.save(checkpoint)
    Decoder.load(checkpoint)
    lam.encoder.feature_std += 1
    lam.save(checkpoint)
    with pytest.raises(CheckpointError, match="features of another encoder"):
        Decoder.load(checkpoint)
