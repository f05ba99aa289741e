"""Fills the tables of benchmarks/README.md from results files: python -m tools.readme_tables runs/manipulation runs/navigation

A table stands between the marks `<!-- results:NAME -->` and `<!-- /results:NAME -->`, NAME being the benchmark, on an accelerator
with its name behind it (`latency on NVIDIA H200`). Everything between them is replaced by the table, the command that makes it
again, and the commit and device it was measured on. Several runs of one benchmark share its table; where two hold the same row,
the one given last is shown.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

from lamplan.errors import DataError, LamplanError
from lamplan.report.results import Results
from lamplan.report.table import table

README = Path(__file__).resolve().parents[1] / "benchmarks" / "README.md"


def origin(results: Results) -> str:
    """How the rows of one run are made again, and where they were measured."""
    budget = "".join(f"; {key} {value}" for key, value in results.budget.items())
    return f"`{results.command}` (commit {results.commit}, {results.device}, seed {results.seed}{budget})"


def block(runs: list[Results]) -> str:
    """What stands between the marks of one benchmark."""
    rows = {(row.name, row.task, row.metric): row for results in runs for row in results.rows}
    return "\n\n".join([*(origin(results) for results in runs), table(replace(runs[0], rows=list(rows.values())))])


def place_of(results: Results) -> str:
    """What the marks of its table say."""
    accelerator = re.fullmatch(r"cuda \((.*)\)", results.device)
    return results.benchmark + (f" on {accelerator[1]}" if accelerator else "")


def fill(text: str, runs: list[Results]) -> str:
    """The text with the block of one benchmark replaced. Raises DataError when the text has no place for it, or several."""
    name = place_of(runs[0])
    start, end = f"<!-- results:{name} -->", f"<!-- /results:{name} -->"
    place = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", flags=re.DOTALL)
    if (found := len(place.findall(text))) != 1:
        raise DataError(f"the text has {found} places for '{name}'; expected one, between {start} and {end}.")
    return place.sub(lambda _: f"{start}\n{block(runs)}\n{end}", text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="results.json of a benchmark, or the folder that holds it")
    parser.add_argument("--readme", type=Path, default=README, help="the file to fill (default: benchmarks/README.md)")
    options = parser.parse_args(arguments)
    try:
        text = options.readme.read_text(encoding="utf-8")
        runs = [Results.read(path) for path in options.results]
        for name in dict.fromkeys(place_of(results) for results in runs):
            text = fill(text, [results for results in runs if place_of(results) == name])
    except (LamplanError, OSError) as error:
        print(f"readme_tables: {error}", file=sys.stderr)
        return 2
    unfinished = options.readme.with_name(options.readme.name + ".tmp")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, options.readme)
    return 0


if __name__ == "__main__":
    sys.exit(main())
