"""Command line of the generator: `python -m envs.wild --out DIR --clips N --seed S --workers W`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from envs.wild.clips import DOMAINS
from envs.wild.generate import Order, generate
from lamplan.errors import LamplanError


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0, or 2 with a sentence on stderr where the request cannot be met."""
    parser = argparse.ArgumentParser(
        prog="python -m envs.wild",
        description="Makes unlabelled video of many embodiments. A killed run goes on when started again.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the clips")
    parser.add_argument("--clips", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes; any number makes the same clips")
    parser.add_argument(
        "--domain", choices=["wild", *DOMAINS], default="wild", help="or unlabelled video of a benchmark's world"
    )
    parser.add_argument("--frames", type=int, default=24, help="per clip")
    parser.add_argument("--size", type=int, default=128, help="px")
    parser.add_argument("--fps", type=float, default=4.0)
    chosen = parser.parse_args(arguments)
    order = Order(chosen.domain, chosen.seed, chosen.frames, chosen.size, chosen.fps)
    try:
        generate(order, chosen.out, chosen.clips, chosen.workers)
    except LamplanError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
