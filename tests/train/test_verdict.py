"""What a fitted controller is measured on: whole plans, however many episodes there are, and motions longer than any learned from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lamplan.train import verdict
from lamplan.train.verdict import held_out_errors, measured, whole_plans
from tests.train.test_proposals import SPEC, Perfect, pairs_of, told


def test_of_many_episodes_whole_plans_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    lam, pairs = pairs_of(40, 12, 8)
    monkeypatch.setattr(verdict, "MOST", 50)
    far = whole_plans(pairs)
    assert len(far) == 50 and (far.gap == 8).all() and len(far.episode.unique()) == 40
    errors = held_out_errors(lam, Perfect(), told(), pairs, SPEC, pairs.usual())  # type: ignore[arg-type]
    assert torch.from_numpy(errors.plan["zero action"]).equal(far.moved[:, SPEC.position].norm(dim=1))
    assert {len(values) for values in errors.plan.values()} == {len(errors.regression)} == {50} and len(errors.proposal) == 50


def test_a_motion_longer_than_all_that_were_learned_from_has_a_usual_one() -> None:
    lam, pairs = pairs_of(6, 12, 6)
    alike = replace(pairs, moved=torch.ones_like(pairs.moved) * pairs.gap[:, None])
    short = alike.where(alike.gap <= 2).usual()
    rows = measured(held_out_errors(lam, Perfect(), told(), alike, SPEC, short), SPEC).rows  # type: ignore[arg-type]
    assert next(row.value for row in rows if row.name == "mean motion") == pytest.approx(0.0, abs=1e-5)
