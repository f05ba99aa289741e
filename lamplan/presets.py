"""Searches by name: the settings of published planners, and the one that closes a loop."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lamplan.costs import GoalCost
from lamplan.errors import InputError
from lamplan.search import CEM, Gradient, Search


@dataclass(frozen=True)
class Preset:
    """A search and the distance that it minimises. Where it begins, how widely and within which limits is the robot's (`robot.toml`)."""

    search: CEM | Gradient
    cost: GoalCost = GoalCost()  # noqa: RUF009  frozen


PRESETS: dict[str, Preset] = {
    # "Learning latent action world models in the wild", appendix A: DROID, and NWM's protocol on RECON.
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
    # The best that plans in a quarter of a second on 2 cores, for `LatentPlanner`: see `python -m benchmarks.budget`.
    "realtime": Preset(Gradient(samples=1, iterations=12, horizon=1, rate=0.33), GoalCost("l1")),
}


def preset(name: str) -> Preset:
    """The preset of this name. Raises InputError, which names them all, where there is none."""
    if name not in PRESETS:
        raise InputError(f"there is no search named '{name}'; choose from {', '.join(PRESETS)}.")
    return PRESETS[name]


def resized(search: CEM | Gradient, samples: int | None = None, iterations: int | None = None,
            horizon: int | None = None) -> CEM | Gradient:
    """The same search with other numbers where they are given; there are never more elites than samples."""
    asked = {"samples": samples, "iterations": iterations, "horizon": horizon}
    given = {name: value for name, value in asked.items() if value is not None}
    if isinstance(search, CEM):
        return replace(search, **given, elites=min(search.elites, given.get("samples", search.samples)))
    return replace(search, **given)


def settings(search: Search | str, cost: GoalCost | None) -> tuple[Search, GoalCost]:
    """A search and a cost from what a user gave for them: a preset's name brings its cost unless another is given."""
    if not isinstance(search, str):
        return search, cost or GoalCost()
    named = preset(search)
    return named.search, cost or named.cost
