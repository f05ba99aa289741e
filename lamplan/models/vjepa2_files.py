"""The two kinds of file that V-JEPA 2 weights come in, opened so that a tensor is read only when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lamplan.errors import DataError
from lamplan.models.encoder import EncoderConfig

KEYS = ("target_encoder", "ema_encoder", "encoder")
"""Top-level entries of a released file that hold an encoder, the one to prefer first."""
PREFIXES = ("module.", "backbone.")
DEFAULTS = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 16, "tubelet_size": 2, "in_chans": 3,
            "hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True, "mlp_ratio": 4.0}
"""What `transformers` takes for an entry that a vjepa2 config.json leaves out."""


@dataclass(frozen=True)
class TensorFile:
    """Names and shapes of the tensors under `key`, a way to read one, and the names of what lies beside that key."""

    path: Path
    key: str
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], Tensor]
    others: tuple[str, ...] = ()


def open_pt(path: Path) -> TensorFile:
    """A released `.pt` file; nothing but tensors and plain containers is unpickled."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many kinds, from a bad archive to a forbidden object
        reason = str(error).splitlines()[0][:160]
        raise DataError(f"{path} cannot be read as a PyTorch file of weights ({type(error).__name__}: {reason}); it is cut short, or "
                        "holds more than tensors. Fetch the released .pt file again.") from None
    found = sorted(content) if isinstance(content, dict) else type(content).__name__
    key = next((key for key in KEYS if isinstance(content, dict) and isinstance(content.get(key), dict)), None)
    if key is None:
        raise DataError(f"{path} has none of the entries {', '.join(KEYS)}, found {found}: give a released V-JEPA 2 file.")
    tensors: dict[str, Tensor] = {}
    for name, value in content[key].items():
        plain = _plain(str(name))
        if not isinstance(value, Tensor) or plain in tensors:
            what = "twice" if plain in tensors else f"as {type(value).__name__}"
            raise DataError(f"{path}, key '{key}', holds {plain} {what}; expected one tensor of each name.")
        tensors[plain] = value
    others = [other for name, value in content.items() if name != key for other in _leaves(str(name), value)]
    return TensorFile(path, key, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, tensors.__getitem__, tuple(others))


def _plain(name: str) -> str:
    while name.startswith(PREFIXES):
        name = name.split(".", 1)[1]
    return name


def _leaves(name: str, value: Any) -> list[str]:
    """`name` and, of the other networks in the file, the names of their tensors."""
    if isinstance(value, dict) and value and all(isinstance(part, Tensor) for part in value.values()):
        return [f"{name}.{_plain(str(part))}" for part in value]
    return [name]


def open_folder(folder: Path, config: EncoderConfig) -> TensorFile:
    """A Hugging Face folder of a `vjepa2` model: config.json, checked against the encoder, and safetensors in one file or several."""
    described = _json(folder / "config.json")
    _compare(folder / "config.json", described, config)
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    files = {single: None} if not index.is_file() else _shards(index)
    where: dict[str, Path] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for file, promised in files.items():
        try:
            with safe_open(file, framework="pt") as opened:
                found = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118  not a dict
        except FileNotFoundError:
            raise DataError(f"no {file.name} in {folder}: the folder is incomplete, fetch it again.") from None
        except (SafetensorError, OSError) as error:
            raise DataError(f"{file} cannot be read ({error}); it is cut short or no safetensors file, fetch it again.") from None
        if promised is not None and promised != set(found):
            apart = sorted(promised ^ set(found))
            raise DataError(f"{file} and {index.name} disagree about {', '.join(apart[:3])} ({len(apart)} in all); fetch the folder again.")
        where |= dict.fromkeys(found, file)
        shapes |= found

    def read(name: str) -> Tensor:
        with safe_open(where[name], framework="pt") as opened:
            tensor: Tensor = opened.get_tensor(name)
            return tensor

    return TensorFile(folder, "encoder", shapes, read)


def _shards(index: Path) -> dict[Path, set[str] | None]:
    """Of each file that the index names the tensors that it must hold."""
    names = _json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(file, str) and Path(file).name == file for file in names.values()):
        raise DataError(f"{index} has no weight_map of tensor names to files beside it; fetch the folder again.")
    return {index.parent / file: {name for name, holder in names.items() if holder == file} for file in sorted(set(names.values()))}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"no {path.name} in {path.parent}: expected a Hugging Face folder of a vjepa2 model.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); fetch it again.") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, expected an object; fetch it again.")
    return content


def _compare(path: Path, described: dict[str, Any], config: EncoderConfig) -> None:
    """The size of the picture is not compared: rotary positions serve any."""
    expected = {"model_type": "vjepa2", "hidden_size": config.width, "num_hidden_layers": config.depth,
                "num_attention_heads": config.heads, "patch_size": config.patch, "tubelet_size": config.tubelet, "in_chans": 3,
                "hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True, "mlp_ratio": config.mlp_ratio}
    described = {**DEFAULTS, **described}
    apart = [f"{name} {described.get(name)} for {value}" for name, value in expected.items() if described.get(name) != value]
    if config.rope != "repeat":
        apart.append(f"model_type {described.get('model_type')}, whose rotary positions are 'repeat', for '{config.rope}'")
    if apart:
        raise DataError(f"{path} describes another encoder than the one asked for: {'; '.join(apart)}. Name the one that the folder is of.")
