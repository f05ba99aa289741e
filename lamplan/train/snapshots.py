"""Snapshots of a training run: written in the background, whole or not at all, readable by any number of processes; and a note of what
they are of."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import warnings
from concurrent.futures import Future
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from lamplan.errors import LamplanError
from lamplan.notes import settle_note
from lamplan.train.best import Best
from lamplan.train.distribution import World
from lamplan.train.optimiser import Optimisers

# A single process is no mistake; the warning comes from the writing thread, where no context would catch it.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")
FLAT = StateDictOptions(flatten_optimizer_state_dict=True)
MODEL, OPTIMISER, BEST, STEP, SECONDS = "model.", "optimiser.", "best.", "step", "seconds"


STAGES = ("", "encoder/", "lam/", "regression/", "fold-*/", "fold-*/regression/")
"""Where a run keeps its snapshots; what else lies below its folder may be other runs."""


def settle(folder: Path, wanted: dict[str, str]) -> None:
    """Notes in `folder/run.json` what the run there is of, each fact by its name; how long it is to be is none of them.

    InputError where it holds snapshots of a run of something else, or of one that was not noted: they would be gone on from.
    """
    begun = any(any(folder.glob(f"{stage}state/step-*")) for stage in STAGES)
    settle_note(folder / "run.json", wanted, begun, f"the state in {folder} is", "folder")


class Snapshots:
    """The last `keep` snapshots of a run as `folder/step-NNNNNNNN`, in the format of torch.distributed.checkpoint.

    One that is still being written carries the name `.part`; a process that dies leaves that behind, and the next one
    removes it. Everything random in a run follows from its seed and the step, so weights, optimiser, step and time are all,
    and the best weights so far where a run stops early.
    """

    def __init__(self, folder: Path, module: nn.Module, optimisers: Optimisers, world: World, keep: int, best: Best | None = None) -> None:
        self.folder, self.module, self.optimisers, self.world, self.keep = folder, module, optimisers, world, keep
        self.best = best
        self._pending: tuple[Future[Any], Path] | None = None
        self.last = 0  # step of the last snapshot, written or under way

    def resume(self) -> tuple[int, float]:
        """Fills module and optimisers from the last snapshot; its step and seconds, or zeros where there is none."""
        if self.world.leads:
            self.folder.mkdir(parents=True, exist_ok=True)
            for part in self.folder.glob("*.part"):
                shutil.rmtree(part)
        older = self.folder.parent / "state.pt"
        if older.exists():
            raise LamplanError(f"{older} cannot be resumed: another version of lamplan wrote it. Delete it to start over, "
                               "or give another --out.")
        step = int(self.world.from_leader(max(self.steps(), default=0)))
        if step == 0:
            return 0, 0.0
        path = self._path(step)
        try:
            state = self._state(0, 0.0)
            reader = _Reader(path)
            saved, wanted = set(reader.read_metadata().state_dict_metadata), set(state)
            if saved != wanted:
                raise ValueError(f"{len(wanted - saved)} entries are missing, {len(saved - wanted)} are of another model")
            dcp.load(state, storage_reader=reader, planner=_Planner(flatten_state_dict=False), process_group=self.world.save,
                     no_dist=self.world.size == 1)
            set_state_dict(self.module, self.optimisers.parts, model_state_dict=_under(MODEL, state),
                           optim_state_dict=_under(OPTIMISER, state), options=FLAT)
            if self.best is not None:
                self.best.load(_under(BEST, state))
        except (Exception, CheckpointException) as error:  # whatever torch raises: the folder is no snapshot of this run
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else ""
            raise LamplanError(f"{path} cannot be resumed ({type(error).__name__}: {reason}): it is damaged or belongs to another "
                               "configuration. Delete it to go on from the one before, or give another --out.") from None
        self.last = step
        return step, state[SECONDS].item()

    def save(self, step: int, seconds: float) -> None:
        """Copies the present state and writes the copy while training goes on."""
        self.finish()
        part = self._path(step).with_suffix(".part")
        future = dcp.async_save(self._state(step, seconds), checkpoint_id=part, planner=DefaultSavePlanner(flatten_state_dict=False),
                                process_group=self.world.save, no_dist=self.world.size == 1)
        assert isinstance(future, Future)
        self._pending, self.last = (future, part), step

    def publish(self) -> None:
        """Gives a snapshot that has been written in the meantime its name; to be called now and then."""
        if self._pending is not None and self._pending[0].done():
            self.finish()

    def finish(self) -> None:
        """Waits until the snapshot under way is written and has its name."""
        if self._pending is None:
            return
        future, part = self._pending
        self._pending = None
        future.result()
        if self.world.leads:
            os.replace(part, part.with_suffix(""))
            for step in self.steps()[: -self.keep]:
                shutil.rmtree(self._path(step))

    def steps(self) -> list[int]:
        """Steps of the snapshots that are whole, oldest first."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*") if not path.suffix)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _state(self, step: int, seconds: float) -> dict[str, Any]:
        model, optimiser = get_state_dict(self.module, self.optimisers.parts, options=FLAT)
        best = {} if self.best is None else self.best.state()
        parts = ((MODEL, model), (OPTIMISER, optimiser), (BEST, best))
        return {**{prefix + name: value for prefix, part in parts for name, value in part.items()},
                STEP: torch.tensor(step), SECONDS: torch.tensor(seconds, dtype=torch.float64)}


def _under(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


class _Unpickler(pickle.Unpickler):
    """Reads the index of a snapshot, and nothing that could run code: names of torch's and Python's plain classes only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _member  # as which Python before 3.11.4 writes a member of an enumeration
        plain = module == "torch.distributed.checkpoint.metadata" or (module, name) in {
            ("torch.distributed.checkpoint.filesystem", "_StorageInfo"), ("torch", "Size"), ("collections", "OrderedDict"),
            ("torch.serialization", "_get_layout"), ("pathlib", "PosixPath"), ("pathlib", "WindowsPath")}
        if plain or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"its index names {module}.{name}, which no snapshot needs")


def _member(kind: Any, name: str) -> Any:
    """A member of an enumeration by its name, and nothing else that `getattr` could give."""
    if not (isinstance(kind, type) and issubclass(kind, Enum) and name in kind.__members__):
        raise pickle.UnpicklingError(f"its index asks for {name!r} of {kind!r}, which no snapshot needs")
    return kind[name]


class _Reader(dcp.FileSystemReader):
    def read_metadata(self, *arguments: Any, **keywords: Any) -> Metadata:
        with self.fs.create_stream(self.fs.concat_path(self.path, ".metadata"), "rb") as file:
            metadata: Metadata = _Unpickler(file).load()
        if metadata.storage_meta is None:
            metadata.storage_meta = dcp.metadata.StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _Planner(DefaultLoadPlanner):
    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        self.state_dict[read_item.dest_index.fqn] = torch.load(value, weights_only=True)
