"""Search over action sequences. It knows no model and no robot: it minimises `cost(actions)` inside bounds."""

from lamplan.search.base import Cost, Found, Search, SearchSpace
from lamplan.search.cem import CEM

__all__ = ["CEM", "Cost", "Found", "Search", "SearchSpace"]
