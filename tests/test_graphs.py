"""What is captured when, without the accelerator that captures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lamplan import graphs
from lamplan.graphs import Graphs
from lamplan.models.prepared import Prepared, only_preparing


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


def test_who_is_in_a_hurry_gets_what_was_captured_before_and_waits_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    captured: list[int] = []

    def capture(function: Any, samples: tuple[Tensor, ...]) -> Any:
        captured.append(len(samples[0]))
        return lambda *given: function(*given) + 100

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", capture)
    same = Graphs(lambda shape, tensors: tensors[0])
    for _ in range(2):
        same(None, [torch.zeros(1)])
    with only_preparing(Prepared.CODE):
        assert [same(None, [torch.zeros(size)])[0].item() for size in (1, 2, 2, 2)] == [100, 0, 0, 0]
        for size in range(2, 3 * graphs.KEPT):
            same(None, [torch.zeros(size)])
        assert same(None, [torch.zeros(1)])[0].item() == 100  # what cannot be captured takes no graph's place
    assert captured == [1]
    assert [same(None, [torch.zeros(2)])[0].item() for _ in range(2)] == [0, 100]
