"""Searches by name: the settings of published planners, and the one that closes a loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from lamplan.costs import GoalCost
from lamplan.errors import InputError
from lamplan.search import CEM, ICEM, Gradient, Search

Proposals = Literal["none", "latent", "regression"]
"""Where a search begins: at the robot's prior, at the motion that the inferred latent amounts to, or at the goal regression's."""


@dataclass(frozen=True)
class Preset:
    """A search, the distance that it minimises, and where it begins. The prior and the limits are the robot's (`robot.toml`).

    One that `strides` imagines as many of the robot's steps at once as the model has learned.
    """

    search: Search
    cost: GoalCost = GoalCost()  # noqa: RUF009  frozen
    proposals: Proposals = "none"
    strides: bool = False


PRESETS: dict[str, Preset] = {
    # "Learning latent action world models in the wild", appendix A: DROID, and NWM's protocol on RECON, where the one action of the search
    # is spread over a whole drive (benchmarks.navigation does that).
    "paper": Preset(CEM(samples=300, iterations=15, elites=10, horizon=3)),
    "paper-recon": Preset(CEM(samples=120, iterations=1, elites=5, horizon=1)),
    # V-JEPA 2-AC: the planner on the robot as its paper tells it, with elites and momenta of the released code; and that code's defaults.
    "vjepa2-ac": Preset(CEM(800, 10, 10, 1, momentum_mean=0.15, momentum_std=0.15), GoalCost("l1")),
    "vjepa2-ac-code": Preset(CEM(400, 10, 10, 2, momentum_mean=0.15, momentum_std=0.15), GoalCost("l1")),
    # JEPA-WMs: the settings of its DROID, MetaWorld and Push-T evaluations.
    "jepa-wms-droid": Preset(CEM(300, 15, 10, 3)),
    "jepa-wms-metaworld": Preset(CEM(300, 15, 10, 6)),
    "jepa-wms-pusht": Preset(CEM(300, 30, 10, 6)),
    "dino-wm": Preset(CEM(300, 30, 30, 5)),
    # The best that was measured here (benchmarks/README.md): what was learned from labels proposes, the world model corrects.
    "guided": Preset(Gradient(samples=1, iterations=8, horizon=1, rate=0.3, pull=0.03), GoalCost("l1"), "regression", strides=True),
    # The best without a goal regression that plans in a quarter of a second on 2 cores, for `LatentPlanner`.
    "realtime": Preset(Gradient(samples=1, iterations=12, horizon=1, rate=0.33), GoalCost("l1"), "latent", strides=True),
}


def preset(name: str) -> Preset:
    """The preset of this name. Raises InputError, which names them all, where there is none."""
    if name not in PRESETS:
        raise InputError(f"there is no search named '{name}'; choose from {', '.join(PRESETS)}.")
    return PRESETS[name]


def resized(found: Preset, samples: int | None = None, iterations: int | None = None, horizon: int | None = None) -> Preset:
    """The same preset with other numbers of its search where they are given; of what has elites, never more than samples."""
    asked = {"samples": samples, "iterations": iterations, "horizon": horizon}
    given = {name: value for name, value in asked.items() if value is not None}
    search = found.search
    if isinstance(search, CEM | ICEM):
        given["elites"] = min(search.elites, given.get("samples", search.samples))
    return replace(found, search=replace(cast(Any, search), **given))


def chosen(search: Search | Preset | str, cost: GoalCost | None) -> Preset:
    """What a user gave for a search, as a preset: by name, as one, or as the search alone; `cost` takes the place of its own."""
    if not isinstance(search, str | Preset) and (isinstance(search, type) or not hasattr(search, "minimise")):
        raise InputError(f"a search is a method such as CEM(), a preset or the name of one ({', '.join(PRESETS)}); found {search!r}.")
    if not isinstance(cost, GoalCost | None):
        raise InputError(f"a cost is a GoalCost, such as GoalCost('l1'); found {cost!r}.")
    found = preset(search) if isinstance(search, str) else search if isinstance(search, Preset) else Preset(search)
    return found if cost is None else replace(found, cost=cost)
