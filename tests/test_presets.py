"""Searches by name have the published numbers (the papers', and those of the released code where a paper gives none)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamplan import CEM, GoalCost, InputError, Planner
from lamplan.presets import PRESETS, Preset, resized
from lamplan.search import Gradient
from tests.test_planner import ROBOT, PointWorld

PUBLISHED = {  # samples, iterations, elites, horizon, momentum of mean and spread, distance
    "paper": (300, 15, 10, 3, 0.0, "l2"),
    "paper-recon": (120, 1, 5, 1, 0.0, "l2"),
    "vjepa2-ac": (800, 10, 10, 1, 0.15, "l1"),
    "vjepa2-ac-code": (400, 10, 10, 2, 0.15, "l1"),
    "jepa-wms-droid": (300, 15, 10, 3, 0.0, "l2"),
    "jepa-wms-metaworld": (300, 15, 10, 6, 0.0, "l2"),
    "jepa-wms-pusht": (300, 30, 10, 6, 0.0, "l2"),
    "dino-wm": (300, 30, 30, 5, 0.0, "l2"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_name_stands_for_the_published_settings(name: str) -> None:
    samples, iterations, elites, horizon, momentum, distance = PUBLISHED[name]
    planner = Planner(PointWorld(), ROBOT, name)
    assert planner.search == CEM(samples, iterations, elites, horizon, momentum, momentum)
    assert planner.cost == GoalCost(distance, over="last")  # type: ignore[arg-type]


def test_the_paper_is_the_default_and_a_cost_of_ones_own_wins() -> None:
    assert Planner(PointWorld(), ROBOT).search == PRESETS["paper"].search
    assert Planner(PointWorld(), ROBOT, "vjepa2-ac", cost=GoalCost("cosine")).cost == GoalCost("cosine")


def test_two_names_are_not_published() -> None:
    assert set(PRESETS) - set(PUBLISHED) == {"guided", "realtime"}
    for name, begins in (("guided", "regression"), ("realtime", "latent")):
        found = PRESETS[name]
        assert found.search.horizon == 1 and found.cost == GoalCost("l1") and found.strides and found.proposals == begins


def test_other_numbers_keep_the_rest_of_a_search() -> None:
    few = resized(PRESETS["vjepa2-ac"], samples=4, horizon=3)
    assert few == Preset(CEM(4, 10, 4, 3, 0.15, 0.15), GoalCost("l1"))
    guided = PRESETS["guided"]
    assert isinstance(guided.search, Gradient)
    assert resized(guided, iterations=5) == replace(guided, search=replace(guided.search, iterations=5))


@pytest.mark.parametrize("name", ["paper", "realtime"])
@pytest.mark.parametrize("number", ["samples", "iterations", "horizon"])
def test_a_zero_is_refused_and_not_taken_for_nothing_said(name: str, number: str) -> None:
    with pytest.raises(InputError, match="needs"):
        resized(PRESETS[name], **{number: 0})


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match=r"no search named .fastest.; choose from paper, .*realtime"):
        Planner(PointWorld(), ROBOT, "fastest")
