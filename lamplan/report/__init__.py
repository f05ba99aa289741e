"""Reports: one form for every measured number, and the table, plots, videos and HTML page made from it."""

from lamplan.report.results import Results, Row
from lamplan.report.table import table

__all__ = ["Results", "Row", "table"]
