"""What a TFDS folder says of itself: the features of a step in `features.json`, name and shards in `dataset_info.json`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lamplan.errors import DataError
from lamplan.logs.files import read_json

FEATURES, DATASET_INFO = "features.json", "dataset_info.json"
SHARD = re.compile(r"(?P<name>.+)-(?P<split>[^-]+)\.tfrecord-(?P<number>\d{1,9})-of-(?P<count>\d{1,9})")
MAX_DEPTH = 16


@dataclass(frozen=True)
class Leaf:
    """A feature of a step: an encoded image, numbers of some shape, or something else that is not read."""

    kind: Literal["image", "numbers", "other"]
    shape: tuple[int, ...] = ()


def step_features(folder: Path) -> dict[str, Leaf]:
    """Features of a step by path, such as `observation/image_0`. DataError when `features.json` describes no episodes of steps."""
    path = folder / FEATURES
    top = _entries(read_json(path))
    steps = top.get("steps")
    inner = steps.get("sequence") if isinstance(steps, dict) else None
    inner = inner.get("feature") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not _entries(inner):
        raise DataError(f"{path} describes no episodes: expected 'steps', a data set of them as RLDS has; found {', '.join(top)[:200]}.")
    found: dict[str, Leaf] = {}
    _collect(inner, "", found, path, 0)
    return found


def dataset_name(folder: Path) -> str:
    """The data set's name, empty where neither `dataset_info.json` nor a shard tells it."""
    path = folder / DATASET_INFO
    name = read_json(path).get("name") if path.is_file() else None
    if isinstance(name, str):
        return name
    return next((match.group("name") for match in map(SHARD.fullmatch, sorted(file.name for file in folder.iterdir())) if match), "")


def shards(folder: Path) -> list[Path]:
    """The TFRecord files of a folder by split and number. Some of a set's shards do as well as all of them."""
    def order(path: Path) -> tuple[str, int, str]:
        match = SHARD.fullmatch(path.name)
        return (match.group("split"), int(match.group("number")), path.name) if match else ("", 0, path.name)

    found = sorted((path for path in folder.iterdir() if ".tfrecord" in path.name and path.is_file()), key=order)
    if not found:
        raise DataError(f"{folder} holds no data: expected files NAME-SPLIT.tfrecord-00000-of-00001.")
    return found


def shard_lengths(folder: Path) -> dict[str, int]:
    """Episodes per file name as `dataset_info.json` gives them, where it does."""
    path = folder / DATASET_INFO
    splits = read_json(path).get("splits") if path.is_file() else None
    found: dict[str, int] = {}
    for split in splits if isinstance(splits, list) else []:
        lengths = split.get("shardLengths") if isinstance(split, dict) else None
        if not isinstance(lengths, list):
            continue
        for file in folder.glob("*.tfrecord-*"):
            match = SHARD.fullmatch(file.name)
            if match and match.group("split") == split.get("name") and int(match.group("count")) == len(lengths):
                number = int(match.group("number"))
                text = str(lengths[number]) if number < len(lengths) else ""
                if text.isdecimal() and len(text) < 10:
                    found[file.name] = int(text)
    return found


def _collect(feature: dict[str, Any], prefix: str, found: dict[str, Leaf], path: Path, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DataError(f"{path} nests features more than {MAX_DEPTH} deep; it is damaged.")
    for name, entry in _entries(feature).items():
        if not isinstance(entry, dict):
            raise DataError(f"{path}: the feature '{prefix}{name}' must be an object, found {str(entry)[:40]}.")
        if _entries(entry):
            _collect(entry, f"{prefix}{name}/", found, path, depth + 1)
        else:
            found[prefix + name] = _leaf(entry)


def _entries(feature: dict[str, Any]) -> dict[str, Any]:
    """The members of a FeaturesDict, none for any other feature."""
    inner = feature.get("featuresDict")
    inner = inner.get("features") if isinstance(inner, dict) else None
    return inner if isinstance(inner, dict) else {}


def _leaf(entry: dict[str, Any]) -> Leaf:
    for kind in ("image", "tensor"):
        described = entry.get(kind)
        if isinstance(described, dict):
            shape, dtype = _shape(described), str(described.get("dtype"))
            if kind == "image":
                # Depth images have one channel of 16 bits.
                return Leaf("image" if dtype == "uint8" and shape[-1:] == (3,) else "other", shape)
            plain = dtype.startswith(("float", "int", "uint", "bool")) and described.get("encoding", "none") == "none"
            return Leaf("numbers" if plain else "other", shape)
    return Leaf("other")


def _shape(described: dict[str, Any]) -> tuple[int, ...]:
    """Its dimensions, -1 for those that vary."""
    shape = described.get("shape")
    sizes = shape.get("dimensions", []) if isinstance(shape, dict) else []
    return tuple(int(size) if str(size).isdecimal() and len(str(size)) < 10 else -1 for size in sizes) if isinstance(sizes, list) else ()
