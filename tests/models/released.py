"""Random weights under the names and shapes of released V-JEPA 2 files, and a plain reference of what upstream computes with them.

The reference shares no code with the library: a 3-D convolution, positions from token numbers, rotations axis by axis.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from lamplan.models.encoder import EncoderConfig

TINY = EncoderConfig(image_size=32, patch=8, width=24, depth=2, heads=2, tubelet=2, rope="repeat")
TINY_21 = EncoderConfig(image_size=48, patch=8, width=24, depth=2, heads=2, tubelet=2, rope="interleaved", rope_grid=4,
                        video_embedding=True)


def weights(c: EncoderConfig, seed: int = 0) -> dict[str, Tensor]:
    """A state dict with no prefix."""
    hidden = int(c.width * c.mlp_ratio)
    shapes: dict[str, tuple[int, ...]] = {"patch_embed.proj.weight": (c.width, 3, c.tubelet, c.patch, c.patch),
                                          "patch_embed.proj.bias": (c.width,)}
    for i in range(c.depth):
        for name, shape in {"norm1": (c.width,), "attn.qkv": (3 * c.width, c.width), "attn.proj": (c.width, c.width), "norm2": (c.width,),
                            "mlp.fc1": (hidden, c.width), "mlp.fc2": (c.width, hidden)}.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
    if c.video_embedding:
        shapes |= {"patch_embed_img.proj.weight": (c.width, 3, 1, c.patch, c.patch), "patch_embed_img.proj.bias": (c.width,),
                   "img_mod_embed": (1, 1, c.width), "video_mod_embed": (1, 1, c.width)}
    for norm in [f"norms_block.{i}" for i in range(4)] if c.video_embedding else ["norm"]:
        shapes |= {f"{norm}.weight": (c.width,), f"{norm}.bias": (c.width,)}
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        scale = 0.2 if len(shape) == 1 else 1.5 / torch.Size(shape[1:]).numel() ** 0.5
        state[name] = torch.randn(shape, generator=generator) * scale + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return state


def save_pt(path: Path, c: EncoderConfig, key: str = "target_encoder", prefix: str = "module.backbone.", **others: object) -> Path:
    """A file as released: the encoder under `key`, a position table, and other entries."""
    table = {} if c.video_embedding else {"pos_embed": torch.zeros(1, 64, c.width)}
    torch.save({key: {prefix + name: tensor for name, tensor in (weights(c) | table).items()}, **others}, path)
    return path


def save_folder(folder: Path, c: EncoderConfig, shards: int = 1) -> Path:
    """The same weights as a Hugging Face folder, q, k and v apart, with a predictor's tensor beside them."""
    tensors = {"predictor.proj.bias": torch.zeros(3)}
    for name, tensor in weights(c).items():
        new = name.replace("patch_embed", "embeddings.patch_embeddings").replace("blocks.", "layer.").replace("attn.", "attention.")
        new = "encoder." + ("layernorm" + name[4:] if name.startswith("norm.") else new)
        parts = tensor.chunk(3) if "qkv" in name else [tensor]
        for part, which in zip(parts, ("query", "key", "value"), strict=False):
            tensors[new.replace("qkv", which)] = part.clone()
    folder.mkdir()
    described = {"model_type": "vjepa2", "hidden_size": c.width, "num_hidden_layers": c.depth, "num_attention_heads": c.heads,
                 "patch_size": c.patch, "tubelet_size": c.tubelet, "crop_size": c.image_size, "mlp_ratio": c.mlp_ratio}
    (folder / "config.json").write_text(json.dumps(described))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    placed = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(tensors)}
    for file in set(placed.values()):
        save_file({name: tensors[name] for name in tensors if placed[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return folder


def features(w: dict[str, Tensor], c: EncoderConfig, pixels_BTHWC: Tensor) -> Tensor:
    """Features (B, L, D) of normalised clips, every token attending to every other."""
    steps, rows, columns = (n // m for n, m in zip(pixels_BTHWC.shape[1:4], (c.tubelet, c.patch, c.patch), strict=True))
    x = F.conv3d(pixels_BTHWC.permute(0, 4, 1, 2, 3), w["patch_embed.proj.weight"], w["patch_embed.proj.bias"],
                 stride=(c.tubelet, c.patch, c.patch)).flatten(2).transpose(1, 2)
    if c.video_embedding:
        x = x + w["video_mod_embed"]
    token = torch.arange(steps * rows * columns)
    places = [token // (rows * columns), token // columns % rows, token % columns]
    if c.rope_grid:
        places = [places[0], places[1] * (c.rope_grid - 1) / (rows - 1), places[2] * (c.rope_grid - 1) / (columns - 1)]

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (c.width,), w[name + ".weight"], w[name + ".bias"], eps=1e-6)

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, w[name + ".weight"], w[name + ".bias"])

    for i in range(c.depth):
        q, k, v = (part.unflatten(-1, (c.heads, -1)).transpose(1, 2)
                   for part in linear(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv").chunk(3, dim=-1))
        scores = turned(q, places, c) @ turned(k, places, c).transpose(-1, -2) / (c.width // c.heads) ** 0.5
        x = x + linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), f"blocks.{i}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1")), f"blocks.{i}.mlp.fc2")
    return norm(x, "norms_block.3" if c.video_embedding else "norm")


def turned(x_BhLd: Tensor, places: list[Tensor], c: EncoderConfig) -> Tensor:
    """Channel by channel: 2i and 2i + 1 of an axis' slice are a pair, the channel's own frequency is of the layout."""
    pairs = x_BhLd.shape[-1] // 6
    out = x_BhLd.clone()
    for axis, place in enumerate(places):
        for j in range(2 * pairs):
            index = j % pairs if c.rope == "repeat" else j // 2
            angle = place * 10000.0 ** (-index / pairs)
            here, partner = 2 * pairs * axis + j, 2 * pairs * axis + (j ^ 1)
            sign = 1 if j % 2 else -1
            out[..., here] = x_BhLd[..., here] * angle.cos() + sign * x_BhLd[..., partner] * angle.sin()
    return out
