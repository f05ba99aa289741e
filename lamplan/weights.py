"""Folders of weights: `config.json` beside `model.safetensors`, written whole or not at all and read with care."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lamplan.errors import CheckpointError

FORMAT = 1
Config = TypeVar("Config")


class Files(NamedTuple):
    """The names of the two files that hold a module."""

    config: str
    weights: str


MAIN = Files("config.json", "model.safetensors")


def save_folder(folder: str | Path, kind: str, config: dict[str, Any], module: nn.Module, files: Files = MAIN) -> None:
    """Writes a module and its configuration; a reader sees the old files or the new ones, never half of one."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights, description = folder / (files.weights + ".tmp"), folder / (files.config + ".tmp")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}, weights)
    description.write_text(json.dumps({"format": FORMAT, "kind": kind, **config}, indent=2) + "\n", encoding="utf-8")
    os.replace(weights, folder / files.weights)
    os.replace(description, folder / files.config)


def read_config(folder: str | Path, kind: str, files: Files = MAIN) -> dict[str, Any]:
    """The configuration in `folder`, checked to be of this kind and format."""
    path = Path(folder) / files.config
    if not path.is_file():
        raise CheckpointError(f"no {path.name} in {folder}: expected a folder that holds a lamplan {kind} ({' and '.join(files)}).")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}): fetch or write the {kind} again.") from None
    if not isinstance(config, dict) or config.get("kind") != kind:
        found = config.get("kind") if isinstance(config, dict) else type(config).__name__
        raise CheckpointError(f"{path} describes a '{found}', expected a '{kind}': give another folder.")
    if config.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {config.get('format')}, this lamplan reads format {FORMAT}: "
                              f"use the lamplan that wrote it, or make the {kind} again.")
    return config


def later(default: Any) -> Any:
    """The default of a dataclass field that came after checkpoints without it: only such a field may be absent from a file."""
    return dataclasses.field(default=default, metadata={"later": True})


def build(cls: type[Config], fields: Any, where: str | Path) -> Config:
    """A configuration dataclass from its JSON fields."""
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    needed = {field.name for field in dataclasses.fields(cls) if "later" not in field.metadata}  # type: ignore[arg-type]
    if not isinstance(fields, dict) or not needed <= set(fields) <= known:
        found = sorted(fields) if isinstance(fields, dict) else fields
        raise CheckpointError(f"{where}: {cls.__name__} needs the entries {sorted(known)}, found {found}.")
    return cls(**fields)


def load_weights(folder: str | Path, module: nn.Module, files: Files = MAIN, part: str = "", later: Sequence[str] = ()) -> None:
    """Fills `module` from `folder`; every tensor must be there with its shape, and none may be left over.

    With a `part` the module is that part of the one in the folder, whose tensors' names begin with it. Tensors that came `later` than the
    first such files may be absent, and then stay as the module has them.
    """
    path = Path(folder) / files.weights
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"no {path.name} in {folder}: the folder is incomplete, fetch or write it again.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): it is truncated or not a safetensors file, fetch it again.") from None
    tensors = {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
    tensors = {name: tensor for name, tensor in module.state_dict().items() if name in later} | tensors
    check_tensors(tensors, module, path)
    module.load_state_dict(tensors)


def check_tensors(tensors: dict[str, Tensor], module: nn.Module, where: str | Path) -> None:
    """Raises unless names and shapes are exactly those of the module."""
    expected = module.state_dict()
    missing, extra = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    if missing or extra:
        raise CheckpointError(f"{where} does not fit its configuration: missing {missing[:3]} ({len(missing)} in all), "
                              f"unexpected {extra[:3]} ({len(extra)} in all).")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(f"{where}: {name} has shape {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}.")


def module_fingerprint(*modules: nn.Module) -> str:
    """Short hash of the weights of modules: features, and models that read them, name their encoder by it."""
    digest = hashlib.sha256()
    for name, tensor in (entry for module in modules for entry in module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def fingerprint(folder: str | Path) -> str:
    """Short hash of a folder's weights."""
    path = Path(folder) / MAIN.weights
    if not path.is_file():
        raise CheckpointError(f"no {path.name} in {folder}: the folder is incomplete, fetch or write it again.")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
