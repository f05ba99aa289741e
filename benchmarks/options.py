"""Command-line options that all benchmarks share, and how they end on a user's mistake."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lamplan.errors import InputError, LamplanError
from lamplan.precision import PRECISIONS

FIRST_HELD_OUT_SEED = 1_000_000  # training data are recorded from seeds below


def positive_int(text: str) -> int:
    """An argparse type."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def out_folder(text: str) -> Path:
    """An argparse type: a folder, or where one can be made, said before anything is measured for it."""
    path = Path(text)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise argparse.ArgumentTypeError(f"{place} is a file; give a folder, which is made where there is none")
    return path


class Named(argparse.Action):
    """The option --rows, which also keeps that rows were asked for by name."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        namespace.rows, namespace.named = values, True


def add_timing_options(parser: argparse.ArgumentParser) -> None:
    """What every measurement of time is told of the machine."""
    parser.add_argument("--threads", type=positive_int, help="CPU threads (default: torch's choice)")
    parser.add_argument("--note", default="", help="what else the machine was doing, for the record")


def held_out_seed(text: str) -> int:
    """An argparse type: a seed that no training data were recorded from."""
    value = int(text)
    if value < FIRST_HELD_OUT_SEED:
        raise argparse.ArgumentTypeError(f"{value} belongs to the training data; evaluation seeds begin at {FIRST_HELD_OUT_SEED}")
    return value


def benchmark_parser(name: str, description: str, robot: str, rows: tuple[str, ...], parts: tuple[str, ...]) -> argparse.ArgumentParser:
    """The options of `python -m benchmarks.NAME` that do not depend on the protocol."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--episodes", type=positive_int, help="held-out episodes (default: the protocol's number)")
    parser.add_argument("--seed", type=held_out_seed, default=FIRST_HELD_OUT_SEED, help="seed of the first episode")
    parser.add_argument("--out", type=out_folder, default=Path("runs") / name,
                        help="folder for results.json, plots, videos and report.html")
    parser.add_argument("--quick", action="store_true", help="few episodes and a small search: minutes on 2 cores")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/wild-small"),
                        help="LAM whose row is `lam_in_domain`; its encoder also serves oracle and baselines")
    parser.add_argument("--robot", type=Path, default=Path(robot), help="folder with robot.toml and the fitted controllers")
    parser.add_argument("--checkpoint-wild", type=Path, help="LAM trained without in-domain video, for the row `lam_wild`")
    parser.add_argument("--baselines", type=Path, help="folder written by `python -m benchmarks.baselines`")
    parser.add_argument("--part", default=",".join(parts), help=f"comma-separated, of: {', '.join(parts)}")
    parser.set_defaults(named=False)
    parser.add_argument("--rows", action=Named, default=",".join(rows), help=f"comma-separated, of: {', '.join(rows)}")
    parser.add_argument("--batch", type=positive_int, default=4, help="episodes planned at once")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of imagined frames")
    return parser


def chosen(text: str, known: tuple[str, ...], what: str) -> list[str]:
    """The names in a comma-separated option. Raises InputError for one that is not known."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f"--{what} has {', '.join(unknown) or 'no name'}; choose from {', '.join(known)}.")
    return names


def guarded(main: Callable[[], None]) -> None:
    """Runs a program; a user's mistake becomes its sentence and exit status 2."""
    try:
        main()
    except LamplanError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
