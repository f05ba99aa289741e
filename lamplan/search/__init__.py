"""Search over action sequences. It knows no model and no robot: it minimises `cost(actions)` inside bounds."""

from lamplan.search.base import Cost, Enough, Found, Search, SearchSpace, box
from lamplan.search.cem import CEM
from lamplan.search.gradient import Gradient, Refined
from lamplan.search.icem import ICEM
from lamplan.search.mppi import MPPI

__all__ = ["CEM", "ICEM", "MPPI", "Cost", "Enough", "Found", "Gradient", "Refined", "Search", "SearchSpace", "box"]
