"""What `lamplan pretrain` reads: a flat TOML file with the sizes of the networks and the recipe."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lamplan.errors import InputError
from lamplan.lam import LAMConfig
from lamplan.latents import config_class
from lamplan.models.decoder import DecoderConfig
from lamplan.models.encoder import EncoderConfig
from lamplan.models.inverse_dynamics import InverseDynamicsConfig
from lamplan.models.masked import MaskedConfig
from lamplan.models.vjepa2 import encoder_config
from lamplan.models.world_model import SIZES, WorldModelConfig
from lamplan.train.joint import JointConfig
from lamplan.train.optimiser import OptimiserConfig

SHIPPED = Path(__file__).parent.parent / "configs"


@dataclass(frozen=True)
class PretrainConfig:
    lam: LAMConfig = field(default_factory=LAMConfig)
    encoder_name: str | None = None  # a released encoder: not trained here but read from encoder_weights
    encoder_weights: str | None = None  # a released .pt file or a Hugging Face folder, from the working directory
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    joint: JointConfig | None = None  # the encoder learns with the latent action model, instead of being frozen before
    encoder_share: float = 0.3  # of the time, for the encoder alone
    encoder_batch: int = 32  # pairs of frames
    batch: int = 8  # clips, over all processes
    micro_batch: int | None = None  # clips that one process computes at once (default: all); which clips are drawn depends on it
    steps: int | None = None  # the budget where the command line gives none
    clip_frames: int = 4  # of which the first clip_frames - 1 are contexts of teacher forcing
    imagined: float = 0.0  # share of the steps whose loss is over a rollout instead of teacher forcing
    seed: int = 0
    encode: Literal["once", "each_step"] = "once"  # features of all video kept on disk, or made anew from the frames of each clip
    validation_batch: int = 64  # held-out clips diagnosed at once
    parallel: Literal["ddp", "fsdp"] = "ddp"  # how several processes share the model: replicas, or shards (FSDP2)
    compile: bool = False  # torch.compile, block by block
    recompute: bool = False  # trade time for memory: the activations of a block are computed again in the backward pass

    def __post_init__(self) -> None:
        _within(self, {"encoder_share": (0, 1), "imagined": (0, 1), "clip_frames": (2, math.inf), **dict.fromkeys(
            ("encoder_batch", "batch", "micro_batch", "steps", "validation_batch"), (1, math.inf))})


@dataclass(frozen=True)
class DecoderRecipe:
    """What `lamplan decoder` reads."""

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    perceptual: float = 0.0  # weight of LPIPS beside the L1 of pixels in 0..1
    batch: int = 16  # clips, over all processes
    micro_batch: int | None = None  # as above, and so are the others
    clip_frames: int = 1  # steps of the encoder
    steps: int | None = None
    seed: int = 0
    parallel: Literal["ddp", "fsdp"] = "ddp"
    compile: bool = False
    recompute: bool = False

    def __post_init__(self) -> None:
        _within(self, {"perceptual": (0, math.inf), **dict.fromkeys(("batch", "micro_batch", "clip_frames", "steps"), (1, math.inf))})


def _within(recipe: PretrainConfig | DecoderRecipe, limits: dict[str, tuple[float, float]]) -> None:
    for name, (low, high) in limits.items():
        value = getattr(recipe, name)
        if value is not None and not low <= value <= high:
            wanted = f"between {low} and {high}" if high < math.inf else f"{low} or more"
            raise InputError(f"{name} is {value}, expected {wanted}.")


_PARTS: dict[str, Any] = {"inverse_dynamics": InverseDynamicsConfig, "world_model": WorldModelConfig,
                          "masked": MaskedConfig, "optimiser": OptimiserConfig}
_ELSEWHERE = {"lam", "encoder_name", "encoder_weights"}  # which the file has under other names


def load_config(name: str) -> PretrainConfig:
    """A recipe shipped with lamplan by name (`wild-small`, `paper`), or a TOML file by path."""
    path, table = _read(name, SHIPPED)
    named, weights, encoder = _encoder(table.pop("encoder", {}), f"{path} [encoder]")
    if "world_model" in table:
        table["world_model"] = _sized(_table(table["world_model"], f"{path} [world_model]"), f"{path} [world_model]")
    parts = {key: _build(cls, table.pop(key, {}), f"{path} [{key}]") for key, cls in _PARTS.items()}
    if "joint" in table:
        parts["joint"] = _build(JointConfig, table.pop("joint"), f"{path} [joint]")
    bottleneck = _table(table.pop("bottleneck", {}), f"{path} [bottleneck]")
    kind = bottleneck.pop("kind", "noisy")
    parts["bottleneck"] = _build(config_class(kind, f"{path} [bottleneck]"), bottleneck, f"{path} [bottleneck]")
    lam_keys = {f.name for f in fields(LAMConfig)}
    known = (lam_keys | {f.name for f in fields(PretrainConfig)}) - _ELSEWHERE
    _refuse(set(table) - known, str(path), known)
    lam = {key: table.pop(key) for key in list(table) if key in lam_keys}
    lam |= {key: parts.pop(key) for key in ("inverse_dynamics", "world_model", "bottleneck")}
    return _build(PretrainConfig, {**table, **parts, "lam": _build(LAMConfig, {"encoder": encoder, **lam}, str(path)),
                                   "encoder_name": named, "encoder_weights": weights}, str(path))


def load_decoder_recipe(name: str) -> DecoderRecipe:
    """A decoder's recipe shipped with lamplan by name (`small`, `paper`), or a TOML file by path."""
    path, table = _read(name, SHIPPED / "decoder")
    for key, cls in (("decoder", DecoderConfig), ("optimiser", OptimiserConfig)):
        table[key] = _build(cls, table.get(key, {}), f"{path} [{key}]")
    return _build(DecoderRecipe, table, str(path))


def _read(name: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The TOML file of this name in a folder of shipped ones, or at this path."""
    path = folder / f"{name}.toml"
    path = path if path.is_file() else Path(name)
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise InputError(f"no recipe '{name}': give the path of a TOML file or one of {shipped}.")
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML ({error}).") from None


def _encoder(entry: Any, where: str) -> tuple[str | None, str | None, EncoderConfig]:
    """Name, weights and sizes: from `encoder = NAME`, or from a table whose other entries replace those of the named encoder."""
    if not isinstance(entry, str | dict):
        raise InputError(f"{where}: expected a released encoder's name or a table, found {entry}.")
    table = {"name": entry} if isinstance(entry, str) else dict(entry)
    name, weights = table.pop("name", None), table.pop("weights", None)
    base = EncoderConfig() if name is None else encoder_config(str(name))
    return name, weights, _build(EncoderConfig, asdict(base) | table, where)


def _sized(table: dict[str, Any], where: str) -> dict[str, Any]:
    """The table with its `size`, a usual name, replaced by width, depth and heads; those that it gives itself stay."""
    rest = {key: value for key, value in table.items() if key != "size"}
    if "size" not in table:
        return rest
    if table["size"] not in list(SIZES):
        raise InputError(f"{where}: size '{table['size']}' is not known; choose from {', '.join(SIZES)}, or give width, depth and heads.")
    return dict(zip(("width", "depth", "heads"), SIZES[table["size"]], strict=True)) | rest


def _build(cls: Any, values: Any, where: str) -> Any:
    """The configuration from its entries, each of which must be of its field's type."""
    known = {f.name for f in fields(cls)}
    _refuse(set(_table(values, where)) - known, where, known)
    for name, hint in get_type_hints(cls).items():
        if name in values and not _fits(values[name], hint):
            raise InputError(f"{where}: {name} is {values[name]!r}, expected {' or '.join(_wanted(hint))}.")
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _table(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected a table of entries, found {values!r}.")
    return values


def _refuse(unknown: set[str], where: str, known: set[str]) -> None:
    if unknown:
        raise InputError(f"{where}: unknown entries {sorted(unknown)}; known are {sorted(known)}.")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    return type(value) in (int, float) if hint is float else type(value) is hint


def _wanted(hint: Any) -> list[str]:
    """What fits, in words; None is what an entry is that is not there."""
    if get_origin(hint) is Literal:
        return [f"'{name}'" for name in get_args(hint)]
    if isinstance(hint, UnionType):
        return [word for one in get_args(hint) if one is not NoneType for word in _wanted(one)]
    return [{int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"}.get(hint, hint.__name__)]
