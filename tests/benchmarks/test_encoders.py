"""The movement probe reads displacement where features hold it, and finds none where they do not."""

from __future__ import annotations

import torch

from benchmarks.encoders import probe


def test_probe_reads_displacement_from_features_that_hold_it() -> None:
    generator = torch.Generator().manual_seed(0)
    moved = [torch.randn(15, 3, generator=generator) * 0.05 for _ in range(40)]
    mixing = torch.randn(3, 50, generator=generator)
    telling = [m @ mixing * 20 + 0.01 * torch.randn(15, 50, generator=generator) for m in moved]
    silent = [torch.randn(15, 50, generator=generator) for _ in moved]
    still = torch.stack([m.abs().sum(1).mean() for m in moved[-13:]]).mean().item()
    assert probe(telling, moved).mean() < 0.1 * still
    assert probe(silent, moved).mean() > 0.8 * still
    assert probe(telling, moved).shape == (13,)
