"""`lamplan check LOG` and `lamplan robot new NAME --from LOG`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamplan.errors import InputError, LamplanError
from lamplan.files import try_folder
from lamplan.robot import RobotSpec, robot_folder

if TYPE_CHECKING:
    from lamplan.checkup import Checkup


def add_commands(commands: Any) -> None:
    """Adds both to the parsers below `lamplan`."""
    check = commands.add_parser("check", help="say what is in a robot log and what is wrong with it",
                                description="Exit status: 0 no trouble, 1 trouble, 2 the input cannot be read at all.")
    check.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="robot logs of any format that is read")
    check.add_argument("--robot", help="also compare with this robot: a folder with robot.toml, or its name under controllers/")
    check.add_argument("--model", type=Path, metavar="CHECKPOINT",
                       help="also check, with the robot's controller, that the planner's cost is lowest at the actions really taken")
    check.add_argument("--out", type=Path, help="where the page check.html is written (default: runs/check-LOG)")
    check.set_defaults(run=_check)

    robot = commands.add_parser("robot", help="make a robot description").add_subparsers(dest="what", required=True)
    new = robot.add_parser("new", help="write a first robot.toml from a log")
    new.add_argument("name", metavar="NAME")
    new.add_argument("--from", dest="log", type=Path, required=True, metavar="LOG", help="a log of the robot")
    new.add_argument("--camera", help="the camera to plan with (default: one that looks from outside)")
    new.add_argument("--rate", type=float, metavar="HZ", help="the rate to act at, at most the log's (default: the log's)")
    new.add_argument("--out", type=Path, metavar="FOLDER", help="where robot.toml goes (default: controllers/NAME)")
    new.set_defaults(run=_new_robot)


def _check(options: argparse.Namespace) -> int:
    from lamplan.checkup import examine
    from lamplan.checkup.page import write_checkup
    from lamplan.checkup.text import summary

    if options.model and not options.robot:
        raise InputError("--model needs --robot: what an action means, and the controller fitted to it, are the robot's.")
    robot = RobotSpec.load(robot_folder(options.robot)) if options.robot else None
    out = options.out or Path("runs") / f"check-{options.logs[0].resolve().stem}"
    try_folder(out)
    checkups, unread = [], []
    for number, log in enumerate(options.logs):
        try:
            found = examine(log, robot)
            if options.model:
                _energy(found, log, options, out / "energy" / str(number))
        except LamplanError as error:
            unread.append(error)
            print(f"lamplan check: {error}", file=sys.stderr)
        else:
            checkups.append(found)
            print(summary(found) + "\n")
    if not checkups:
        return 2
    given = [part for name in ("robot", "model") if (value := getattr(options, name)) for part in (f"--{name}", str(value))]
    page = write_checkup(checkups, out, shlex.join(["lamplan", "check", *map(str, options.logs), *given]), robot)
    troubles, notes = sum(len(found.troubles) for found in checkups), sum(len(found.notes) for found in checkups)
    print(f"trouble: {troubles}, notes: {notes}" + (f", logs that cannot be read: {len(unread)}" if unread else "") + f"; see {page}")
    return 1 if troubles or unread else 0


def _energy(found: Checkup, log: Path, options: argparse.Namespace, out: Path) -> None:
    from lamplan.checkup.finding import Section
    from lamplan.energy import energy_check

    report = energy_check(log, robot_folder(options.robot), options.model, out)
    print(report)
    found.pictures.append(report.picture)
    section = Section({"model": str(options.model)})
    place = "the position" if report.robot.kind == "arm" else "the ground"
    if report.trouble:
        section.trouble("model", "the planner's cost is no guide: it is not surely lower at the true action than at none, or has its "
                        "minimum elsewhere", f"a minimum at the true action along every axis of {place}",
                        "fit the controller to more episodes, or go on training the model on video of this robot", found.survey.name)
    for axis in report.axes:
        section.note("model", str(axis), where=found.survey.name)
    found.add(section)


def _new_robot(options: argparse.Namespace) -> int:
    from lamplan.checkup import new_robot

    if options.out is None and (options.name == ".." or Path(options.name).name != options.name):
        raise InputError(f"'{options.name}' is no name for a folder under controllers/; give a plain name, and --out for another place.")
    try_folder(folder := options.out or Path("controllers") / options.name)
    path, found = new_robot(options.log, options.name, folder, options.camera, options.rate)
    print(f"wrote {path}; read it through before a robot moves by it.")
    if found.troubles:
        print(f"lamplan robot: the log has trouble ({len(found.troubles)}), which these numbers may come from; the first: "
              f"{found.troubles[0]} See it all with lamplan check {shlex.quote(str(options.log))}.", file=sys.stderr)
    return 0
