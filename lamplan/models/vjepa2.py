"""V-JEPA 2 and 2.1: their sizes as configurations of our `Encoder`, and released weights read into it, every tensor accounted for.

What the weights expect, and the `Encoder` does: tubelets of 2 frames x 16 x 16 px, pixels normalised with ImageNet's mean and standard
deviation, LayerNorm eps 1e-6, exact GELU, rotary positions in the layout of `models/rope.py`. V-JEPA 2 was trained at 256 px; its
vitg-384 went on at 384 px with positions 0 to 23, beyond the 16 of before, not squeezed. V-JEPA 2.1 (384 px) squeezes height and width
to 0 to 15, adds a vector to every token of video, and ends in the last of its four norms. Its path for single images (a patch
embedding and a vector of their own) is not used here: an image is a frame, doubled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lamplan.errors import DataError, InputError
from lamplan.models.encoder import Encoder, EncoderConfig, Mode
from lamplan.models.vjepa2_files import TensorFile, open_folder, open_pt

_V2 = EncoderConfig(image_size=256, patch=16, tubelet=2, rope="repeat")
_V21 = replace(_V2, image_size=384, rope="interleaved", rope_grid=16, video_embedding=True)
_B = {"width": 768, "depth": 12, "heads": 12}
_L = {"width": 1024, "depth": 24, "heads": 16}
_H = {"width": 1280, "depth": 32, "heads": 16}
_g = {"width": 1408, "depth": 40, "heads": 22, "mlp_ratio": 48 / 11}
_G = {"width": 1664, "depth": 48, "heads": 26, "mlp_ratio": 64 / 13}

ENCODERS: dict[str, EncoderConfig] = {
    "vjepa2-vitl": replace(_V2, **_L),  # type: ignore[arg-type]
    "vjepa2-vith": replace(_V2, **_H),  # type: ignore[arg-type]
    "vjepa2-vitg": replace(_V2, **_g),  # type: ignore[arg-type]
    "vjepa2-vitg-384": replace(_V2, image_size=384, **_g),  # type: ignore[arg-type]
    "vjepa2.1-vitb": replace(_V21, **_B),  # type: ignore[arg-type]
    "vjepa2.1-vitl": replace(_V21, **_L),  # type: ignore[arg-type]
    "vjepa2.1-vitg": replace(_V21, **_g),  # type: ignore[arg-type]
    "vjepa2.1-vitG": replace(_V21, **_G),  # type: ignore[arg-type]
}
"""The released encoders. There is no B of V-JEPA 2 and no H of V-JEPA 2.1."""


def encoder_config(name: str, mode: Mode = "doubled") -> EncoderConfig:
    """The configuration of a released encoder by name."""
    if name not in ENCODERS:
        raise InputError(f"no encoder '{name}': known are {', '.join(ENCODERS)}.")
    return replace(ENCODERS[name], mode=mode)


@dataclass(frozen=True)
class Read:
    """What a reader did: from which file or folder, under which top-level key, how many tensors it used, and the names of all others."""

    path: Path
    key: str
    used: int
    unused: tuple[str, ...]

    def __str__(self) -> str:
        groups: dict[str, int] = {}
        for name in self.unused:
            head = name.partition(".")[0]
            groups[head] = groups.get(head, 0) + 1
        rest = ", ".join(f"{head} ({count})" for head, count in groups.items()) or "none"
        return f"{self.used} tensors from {self.path}, key '{self.key}'; unused: {rest}"


def read_weights(encoder: Encoder, path: str | Path) -> Read:
    """Fills the encoder from a released `.pt` file or a Hugging Face folder (config.json and safetensors).

    Raises DataError where the file cannot be read, or a tensor is missing, unexpected, of another shape or not finite; the encoder is
    then as it was. Left unused, and named in what is returned: a position table (the models use rotary positions), the predictor
    and training state, and of V-JEPA 2.1 the path for single images and the norms of layers that are not the last.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"no weights at {path}: give a released .pt file or a Hugging Face folder.")
    source = open_folder(path, encoder.config) if path.is_dir() else open_pt(path)
    names = _huggingface(encoder.config) if path.is_dir() else _released(encoder.config)
    shapes = _shapes(encoder, names)
    unused = _account(source, shapes, ("predictor.",) if path.is_dir() else _idle(encoder.config))
    state = {ours: _gather(source, theirs, encoder.get_parameter(ours)) for ours, theirs in names.items()}
    encoder.load_state_dict(state, strict=False)  # what it lacks, feature_mean and feature_std, no file has
    return Read(path, source.key, len(shapes), (*unused, *source.others))


Names = dict[str, tuple[str, ...]]
"""Of each parameter of ours the tensors it is made of, stacked along the first axis."""


def _released(config: EncoderConfig) -> Names:
    names = {"patches": "patch_embed.proj", "norm": "norms_block.3" if config.video_embedding else "norm"}
    for i in range(config.depth):
        for ours, theirs in {"norm1": "norm1", "attn.qkv": "attn.qkv", "attn.proj": "attn.proj", "norm2": "norm2",
                             "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2"}.items():
            names[f"blocks.{i}.{ours}"] = f"blocks.{i}.{theirs}"
    both: Names = {f"{ours}.{kind}": (f"{theirs}.{kind}",) for ours, theirs in names.items() for kind in ("weight", "bias")}
    return both | ({"video": ("video_mod_embed",)} if config.video_embedding else {})


def _huggingface(config: EncoderConfig) -> Names:
    names = {"patches": ["embeddings.patch_embeddings.proj"], "norm": ["layernorm"]}
    for i in range(config.depth):
        for ours, theirs in {"norm1": ["norm1"], "attn.qkv": ["attention.query", "attention.key", "attention.value"],
                             "attn.proj": ["attention.proj"], "norm2": ["norm2"], "mlp.0": ["mlp.fc1"], "mlp.2": ["mlp.fc2"]}.items():
            names[f"blocks.{i}.{ours}"] = [f"layer.{i}.{name}" for name in theirs]
    return {f"{ours}.{kind}": tuple(f"encoder.{name}.{kind}" for name in theirs)
            for ours, theirs in names.items() for kind in ("weight", "bias")}


def _shapes(encoder: Encoder, names: Names) -> dict[str, tuple[int, ...]]:
    """The shape that each of their tensors must have."""
    c, shapes = encoder.config, {}
    for ours, theirs in names.items():
        first, *rest = encoder.get_parameter(ours).shape
        for name in theirs:
            shapes[name] = (first // len(theirs), *rest)
        if ours == "patches.weight":
            shapes[theirs[0]] = (c.width, 3, c.tubelet, c.patch, c.patch)
        elif ours == "video":
            shapes[theirs[0]] = (1, 1, c.width)
    return shapes


def _idle(config: EncoderConfig) -> tuple[str, ...]:
    """How the names of tensors begin that a released file may hold and this encoder has no use for."""
    images = ("img_mod_embed", "patch_embed_img.", "norms_block.0.", "norms_block.1.", "norms_block.2.")
    return ("pos_embed", *images) if config.video_embedding else ("pos_embed",)


def _account(source: TensorFile, shapes: Mapping[str, tuple[int, ...]], idle: tuple[str, ...]) -> tuple[str, ...]:
    """The names of unused tensors, after every other one was found to be as it must."""
    missing = [name for name in shapes if name not in source.shapes]
    extra = [name for name in source.shapes if name not in shapes]
    unexpected = [name for name in extra if not name.startswith(idle)]
    where = f"{source.path}, key '{source.key}',"
    wrong = [f"{name} {source.shapes[name]} for {shape}" for name, shape in shapes.items()
             if name in source.shapes and source.shapes[name] != shape]
    if missing or unexpected or wrong:
        parts = [f"{title} {', '.join(found[:3])} ({len(found)} in all)" for title, found in
                 (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong)) if found]
        raise DataError(f"{where} does not hold the weights of this encoder: {'; '.join(parts)}. Name the encoder that the file is of: "
                        f"{', '.join(ENCODERS)}.")
    return tuple(extra)


def _gather(source: TensorFile, names: tuple[str, ...], like: Tensor) -> Tensor:
    """One parameter of ours out of their tensors: stacked, and the patch embedding's axes in our order (frame, y, x, colour)."""
    tensor = torch.cat([source.read(name) for name in names]).to(like.dtype)
    if tensor.ndim == 5:
        tensor = tensor.permute(0, 2, 3, 4, 1)
    if not torch.isfinite(tensor).all():
        raise DataError(f"{source.path}: {names[0]} holds values that are not finite; the file is damaged, fetch it again.")
    return tensor.reshape(like.shape)
