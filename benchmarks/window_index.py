"""The published windows of a protocol: which steps of which trajectories, out of a pickled index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from lamplan.errors import DataError, InputError
from lamplan.logs import Episode
from lamplan.logs.pickled import read_rows


def read_index(path: Path, horizon: int) -> list[tuple[str, int]]:
    """Trajectories and first steps out of a published index: a pickled list of (trajectory, step, nearest goal, farthest goal).

    Raises DataError where it is of another form, or where its goals do not lie `horizon` steps ahead.
    """
    places = []
    for number, row in enumerate(read_rows(path)):
        if len(row) != 4 or not isinstance(row[0], str) or not all(isinstance(item, int | float) and item == int(item) for item in row[1:]):
            raise DataError(f"{path}: row {number} is {str(row)[:100]}; expected (trajectory, step, nearest goal, farthest goal).")
        if (row[2], row[3]) != (horizon, horizon):
            raise DataError(f"{path}: the goal of row {number} lies {row[2]:g} to {row[3]:g} steps ahead; this protocol's lie {horizon}.")
        places.append((row[0], int(row[1])))
    if not places:
        raise DataError(f"{path} holds no windows.")
    return places


def indexed(episodes: Sequence[Callable[[], Episode]], places: Sequence[tuple[str, int]],
            path: Path) -> list[tuple[Callable[[], Episode], int]]:
    """The places of an index among the episodes of a log, found by the names of files or folders."""
    wanted = {name for name, _ in places}
    found: dict[str, Callable[[], Episode]] = {}
    for opened in tqdm(episodes, desc="look for the index's trajectories", unit="trajectory"):
        if len(found) == len(wanted):
            break
        try:
            name = trajectory_name(opened().source)
        except DataError:  # some of the published files are damaged
            continue
        if name in wanted:
            found[name] = opened
    if missing := sorted(wanted - set(found)):
        raise InputError(f"{len(missing)} of the {len(wanted)} trajectories in {path} are not in the log, or cannot be read, such as "
                         f"{', '.join(missing[:3])}: give the folder that holds RECON's test trajectories, or leave --index out.")
    return [(found[name], start) for name, start in places]


def trajectory_name(source: str) -> str:
    """`jackal_2019-08-02` of `.../jackal_2019-08-02.hdf5` or of a folder of that name."""
    path = Path(source)
    return path.stem if path.suffix in (".hdf5", ".h5") else path.name
