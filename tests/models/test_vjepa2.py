"""Released V-JEPA 2 weights: the same features as upstream, every tensor accounted for, and sentences for files that do not fit."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lamplan.errors import DataError, InputError
from lamplan.models.encoder import Encoder, EncoderConfig
from lamplan.models.rope import neighbour_tables, rotate_neighbours
from lamplan.models.vjepa2 import ENCODERS, encoder_config, read_weights
from tests.models import released
from tests.models.released import TINY, TINY_21


def frames(*shape: int) -> Tensor:
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(images: Tensor) -> Tensor:
    """As upstream prepares pictures: to 0..1, then ImageNet's mean and deviation."""
    return (images.float() / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])


@torch.inference_mode()
def whole(encoder: Encoder, clips: Tensor) -> Tensor:
    """Features of clips with full attention, as the weights were trained."""
    return encoder.tokens(encoder.patchify(clips), grid=encoder.grid(clips))


@pytest.mark.parametrize("config", [TINY, TINY_21], ids=["2", "2.1"])
@pytest.mark.parametrize("size", [(32, 32), (48, 48), (24, 64)], ids=["small", "large", "wide"])
def test_features_are_those_of_a_plain_reference_on_the_real_grid(config: EncoderConfig, size: tuple[int, int], tmp_path: Path) -> None:
    encoder = Encoder(config).eval()
    read_weights(encoder, released.save_pt(tmp_path / "w.pt", config))
    clips = frames(2, 6, *size)
    expected = released.features(released.weights(config), config, normalised(clips))
    torch.testing.assert_close(whole(encoder, clips), expected, rtol=1e-4, atol=2e-5)
    doubled = released.features(released.weights(config), config, normalised(clips[:, :1].repeat_interleave(2, dim=1)))
    with torch.inference_mode():
        torch.testing.assert_close(encoder(clips[:, 0]), doubled, rtol=1e-4, atol=2e-5)


def transformers_model(width: int, heads: int, crop: int, folder: Path, **settings: Any) -> nn.Module:
    """`transformers`' V-JEPA 2 with random weights, none of them at zero or one, saved to a folder."""
    transformers = pytest.importorskip("transformers", reason="parity with transformers needs `pip install transformers`")
    torch.manual_seed(0)
    config = transformers.VJEPA2Config(hidden_size=width, num_attention_heads=heads, crop_size=crop, frames_per_clip=4,
                                       pred_num_hidden_layers=1, pred_hidden_size=24, pred_num_attention_heads=2, **settings)
    model = transformers.VJEPA2Model(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.1)
    model.save_pretrained(folder, max_shard_size="3MB" if width < 1024 else "5GB")
    return model


def parity(model: nn.Module, config: EncoderConfig, folder: Path, size: int) -> tuple[float, float]:
    """Largest differences for a clip of four frames, and for one frame, which both sides double."""
    encoder = Encoder(config).eval()
    read_weights(encoder, folder)
    clip = frames(1, 4, size, size)
    pixels = normalised(clip).permute(0, 1, 4, 2, 3)
    with torch.inference_mode():
        many = model(pixels, skip_predictor=True).last_hidden_state - whole(encoder, clip)
        single = model(pixels[:, :1], skip_predictor=True).last_hidden_state - encoder(clip[:, 0])
    return many.abs().max().item(), single.abs().max().item()


@pytest.mark.parametrize(("width", "heads", "depth", "ratio"), [(128, 2, 24, 4.0), (88, 1, 4, 48 / 11)], ids=["depth-of-L", "ratio-of-g"])
def test_parity_with_transformers(width: int, heads: int, depth: int, ratio: float, tmp_path: Path) -> None:
    model = transformers_model(width, heads, 64, tmp_path, num_hidden_layers=depth, mlp_ratio=ratio)
    config = replace(ENCODERS["vjepa2-vitl"], image_size=64, width=width, heads=heads, depth=depth, mlp_ratio=ratio)
    assert max(parity(model, config, tmp_path, 64)) <= 1e-5
    assert (tmp_path / "model.safetensors.index.json").exists() == (depth == 24)  # one file, and several


@pytest.mark.slow
def test_parity_with_transformers_at_full_width(tmp_path: Path) -> None:
    model = transformers_model(1024, 16, 64, tmp_path)
    assert max(parity(model, replace(ENCODERS["vjepa2-vitl"], image_size=64), tmp_path, 64)) <= 1e-5


def test_a_proper_rotation_knows_relative_positions_alone_and_the_released_one_does_not() -> None:
    """Upstream calls its order of frequencies a bug that the weights rely on: it must be there for V-JEPA 2 and not for 2.1."""
    q, k = torch.randn(2, 1, 1, 1, 64, generator=torch.Generator().manual_seed(0))
    moved = {}
    for tiled in (True, False):
        early, late = (rotate_neighbours(q, neighbour_tables(torch.tensor([[t, 0.0, 0.0]]), 64, tiled))
                       @ rotate_neighbours(k, neighbour_tables(torch.tensor([[t + 2, 0.0, 0.0]]), 64, tiled)).mT for t in (0.0, 5.0))
        moved[tiled] = (early - late).abs().item()
    assert moved[False] < 1e-4 < 1e-1 < moved[True]


@pytest.mark.parametrize("name", list(ENCODERS))
def test_sizes_are_those_of_the_family(name: str) -> None:
    with torch.device("meta"):
        encoder = Encoder(ENCODERS[name])
    c, count = encoder.config, sum(p.numel() for p in encoder.parameters())
    hidden = {1408: 6144, 1664: 8192}.get(c.width, 4 * c.width)
    block = (4 * c.width**2 + 4 * c.width) + (2 * hidden * c.width + hidden + c.width) + 4 * c.width
    patches = 2 * 3 * 16 * 16 * c.width + c.width
    assert count == c.depth * block + patches + 2 * c.width + c.video_embedding * c.width
    assert c.width // c.heads == (80 if name == "vjepa2-vith" else 64)
    counted = {"vjepa2-vitl": 303.89, "vjepa2-vitg": 1012.2}  # millions, of the released models
    assert name not in counted or count / 1e6 == pytest.approx(counted[name], abs=0.05)


def test_the_reader_says_which_key_it_took_and_what_it_left(tmp_path: Path) -> None:
    predictor = {"module.backbone.mask_tokens.0": torch.zeros(2)}
    path = released.save_pt(tmp_path / "vitl.pt", TINY, predictor=predictor, opt={"state": {}}, epoch=3,
                            encoder={name: -tensor for name, tensor in released.weights(TINY).items()})
    encoder = Encoder(TINY)
    read = read_weights(encoder, path)
    assert read.key == "target_encoder" and read.used == 28
    assert {"pos_embed", "predictor.mask_tokens.0", "opt", "epoch", "encoder.norm.bias"} <= set(read.unused)
    assert len(read.unused) == 4 + 28
    assert "vitl.pt, key 'target_encoder'" in str(read) and "encoder (28)" in str(read)
    assert torch.equal(encoder.norm.bias, released.weights(TINY)["norm.bias"])


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
@pytest.mark.parametrize("key", ["target_encoder", "ema_encoder", "encoder"])
def test_every_prefix_and_key_reads_the_same(prefix: str, key: str, tmp_path: Path) -> None:
    encoder = Encoder(TINY)
    assert read_weights(encoder, released.save_pt(tmp_path / "w.pt", TINY, key, prefix)).key == key
    assert torch.equal(encoder.get_parameter("blocks.1.mlp.2.weight"), released.weights(TINY)["blocks.1.mlp.fc2.weight"])


def test_what_vjepa21_does_not_need_is_named(tmp_path: Path) -> None:
    read = read_weights(Encoder(TINY_21), released.save_pt(tmp_path / "w.pt", TINY_21, "ema_encoder"))
    assert set(read.unused) == {"patch_embed_img.proj.weight", "patch_embed_img.proj.bias", "img_mod_embed"} | {
        f"norms_block.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")}


@pytest.mark.parametrize("shards", [1, 3])
def test_a_hugging_face_folder_holds_the_same_encoder(shards: int, tmp_path: Path) -> None:
    one, other = Encoder(TINY), Encoder(TINY)
    read_weights(one, released.save_pt(tmp_path / "w.pt", TINY))
    read = read_weights(other, released.save_folder(tmp_path / "folder", TINY, shards))
    assert read.used == 2 + 2 * (2 * 8) + 2 and read.unused == ("predictor.proj.bias",)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def refused(config: EncoderConfig, path: Path, match: str) -> None:
    """Reading raises a sentence, and the encoder stays as it was."""
    encoder = Encoder(config)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(DataError, match=match):
        read_weights(encoder, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_files_of_other_models_get_sentences(tmp_path: Path) -> None:
    path = released.save_pt(tmp_path / "w.pt", TINY)
    refused(replace(TINY, depth=3), path, r"missing blocks\.2\.norm1\.weight.* \(12 in all\)")
    refused(replace(TINY, depth=1), path, r"unexpected blocks\.1\.norm1\.weight.* \(12 in all\)")
    refused(replace(TINY, width=48), path, r"of another shape patch_embed\.proj\.weight \(24, 3, 2, 8, 8\) for \(48, 3, 2, 8, 8\)")
    refused(TINY_21, path, r"missing norms_block\.3\.weight.*unexpected norm\.weight")
    refused(TINY, released.save_pt(tmp_path / "21.pt", TINY_21), r"missing norm\.weight.*unexpected .*patch_embed_img")
    refused(TINY, released.save_pt(tmp_path / "other.pt", TINY, key="model"), r"none of the entries target_encoder.*found \['model'\]")
    refused(TINY, tmp_path / "none.pt", "no weights at")
    damaged = released.weights(TINY)
    damaged["norm.bias"][3] = float("nan")
    torch.save({"encoder": damaged}, tmp_path / "nan.pt")
    refused(TINY, tmp_path / "nan.pt", "norm.bias holds values that are not finite")
    torch.save({"encoder": {"norm.bias": damaged["norm.bias"], "module.norm.bias": damaged["norm.bias"]}}, tmp_path / "twice.pt")
    refused(TINY, tmp_path / "twice.pt", "holds norm.bias twice")
    torch.save({"encoder": {"norm.bias": 3}}, tmp_path / "int.pt")
    refused(TINY, tmp_path / "int.pt", "holds norm.bias as int")
    torch.save([1, 2], tmp_path / "list.pt")
    refused(TINY, tmp_path / "list.pt", "found list")


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = released.save_pt(tmp_path / "w.pt", TINY).read_bytes()
    folder = released.save_folder(tmp_path / "folder", TINY)
    shard = (folder / "model.safetensors").read_bytes()
    for cut in torch.linspace(0, 0.999, 12).tolist():
        (tmp_path / "cut.pt").write_bytes(content[: int(cut * len(content))])
        refused(TINY, tmp_path / "cut.pt", "cannot be read as a PyTorch file")
        (folder / "model.safetensors").write_bytes(shard[: int(cut * len(shard))])
        refused(TINY, folder, "cut short or no safetensors file")


class Command:
    """What a hostile file would run when unpickled."""

    def __init__(self, argument: str) -> None:
        self.argument = argument

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.argument,)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"encoder": released.weights(TINY), "x": Command(str(tmp_path / "made"))}, tmp_path / "hostile.pt")
    refused(TINY, tmp_path / "hostile.pt", "holds more than tensors")
    assert not (tmp_path / "made").exists()


def test_folders_that_do_not_fit_get_sentences(tmp_path: Path) -> None:
    folder = released.save_folder(tmp_path / "one", TINY)
    described = json.loads((folder / "config.json").read_text())
    refused(replace(TINY, heads=4), folder, "num_attention_heads 2 for 4")
    refused(replace(TINY, rope="interleaved"), folder, "rotary positions are 'repeat', for 'interleaved'")
    for change, match in (({"model_type": "vit"}, "model_type vit for vjepa2"), ({"hidden_act": "silu"}, "hidden_act silu for gelu"),
                          ({"layer_norm_eps": 1e-5}, "layer_norm_eps 1e-05 for 1e-06")):
        (folder / "config.json").write_text(json.dumps(described | change))
        refused(TINY, folder, match)
    (folder / "config.json").write_text("{")
    refused(TINY, folder, "not valid JSON")
    (folder / "config.json").write_text("[]")
    refused(TINY, folder, "expected an object")
    (folder / "config.json").unlink()
    refused(TINY, folder, r"no config\.json")

    folder = released.save_folder(tmp_path / "several", TINY, shards=3)
    index = folder / "model.safetensors.index.json"
    placed = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": placed | {"encoder.new": "model-0.safetensors"}}))
    refused(TINY, folder, r"disagree about encoder\.new \(1 in all\)")
    index.write_text(json.dumps({"weight_map": placed | {"encoder.new": "../model-0.safetensors"}}))
    refused(TINY, folder, "no weight_map of tensor names to files beside it")
    index.write_text(json.dumps({"weight_map": placed}))
    (folder / "model-1.safetensors").unlink()
    refused(TINY, folder, r"no model-1\.safetensors in")


def test_unknown_names_are_refused() -> None:
    assert encoder_config("vjepa2-vitl", "causal").step_frames == 2
    with pytest.raises(InputError, match=r"no encoder 'vjepa3'.*vjepa2-vitl, vjepa2-vith"):
        encoder_config("vjepa3")
