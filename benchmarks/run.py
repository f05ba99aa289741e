"""One run of a benchmark: what it has found so far and where that goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lamplan.report import Results, table
from lamplan.report.html import write_report
from lamplan.report.plots import all_bar_charts


@dataclass
class Run:
    """Results and the files that go with them, in the folder `out`; `batch` episodes are planned side by side."""

    results: Results
    out: Path
    batch: int
    videos: list[Path] = field(default_factory=list)
    plots: list[Path] = field(default_factory=list)

    @property
    def seed(self) -> int:
        return self.results.seed

    def keep(self) -> None:
        """Writes results.json now, so that a run that is stopped keeps the rows it has."""
        self.results.write(self.out)

    def draw(self) -> None:
        """Adds a bar chart for every task and metric."""
        self.plots += all_bar_charts(self.results, self.out / "plots")

    def finish(self) -> None:
        """Writes results.json, plots and report.html, and prints the table and where things are."""
        self.keep()
        self.draw()
        page = write_report([self.results], self.out / "report.html", self.plots, self.videos)
        print(f"\n{table(self.results)}\n\nresults: {self.out / 'results.json'}\nreport:  {page}")
        for video in self.videos:
            print(f"video:   {video}")
