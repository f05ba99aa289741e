"""What is captured when, without the accelerator that captures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lamplan import graphs
from lamplan.graphs import Graphs


def test_what_comes_again_is_captured_once_for_each_shape_and_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    captured: list[tuple[Any, bool]] = []

    def capture(function: Any, samples: tuple[Tensor, ...]) -> Any:
        captured.append((samples[0].shape[0], samples[0].requires_grad))
        return function

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
    twice = Graphs(lambda shape, tensors: shape * tensors[0] + tensors[1])
    for rows in (1, 2, 1, 1, 2, 1):
        x, y = torch.randn(rows, 3), torch.randn(3)
        torch.testing.assert_close(twice(2, [x, y]), 2 * x + y)
    assert captured == [(1, False), (2, False)]
    for _ in range(3):
        x = torch.randn(1, 3, requires_grad=True)
        twice(2, [x, torch.randn(3)]).sum().backward()
        torch.testing.assert_close(x.grad, torch.full((1, 3), 2.0))
    assert captured[2:] == [(1, True)]
    assert twice(3, [torch.ones(1, 3), torch.zeros(3)]).tolist() == [[3, 3, 3]] and len(captured) == 3


def test_the_graphs_longest_unused_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", lambda function, samples: function)
    kept = Graphs(lambda shape, tensors: tensors[0])
    for rows in range(1, 2 * graphs.KEPT):
        kept(None, [torch.ones(rows)])
    assert len(kept._captured) == graphs.KEPT
