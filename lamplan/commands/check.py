"""`lamplan check LOG` and `lamplan robot new NAME --from LOG`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from lamplan.errors import InputError, LamplanError
from lamplan.robot import RobotSpec, robot_folder


def add_commands(commands: Any) -> None:
    """Adds both to the parsers below `lamplan`."""
    check = commands.add_parser("check", help="say what is in a robot log and what is wrong with it",
                                description="Exit status: 0 no trouble, 1 trouble, 2 the input cannot be read at all.")
    check.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="robot logs of any format that is read")
    check.add_argument("--robot", help="also compare with this robot: a folder with robot.toml, or its name under controllers/")
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

    robot = RobotSpec.load(robot_folder(options.robot)) if options.robot else None
    checkups, unread = [], []
    for log in options.logs:
        try:
            checkups.append(examine(log, robot))
        except LamplanError as error:
            unread.append(error)
            print(f"lamplan check: {error}", file=sys.stderr)
        else:
            print(summary(checkups[-1]) + "\n")
    if not checkups:
        return 2
    command = shlex.join(["lamplan", "check", *map(str, options.logs), *(["--robot", options.robot] if options.robot else [])])
    page = write_checkup(checkups, options.out or Path("runs") / f"check-{options.logs[0].resolve().stem}", command, robot)
    troubles, notes = sum(len(found.troubles) for found in checkups), sum(len(found.notes) for found in checkups)
    print(f"trouble: {troubles}, notes: {notes}" + (f", logs that cannot be read: {len(unread)}" if unread else "") + f"; see {page}")
    return 1 if troubles or unread else 0


def _new_robot(options: argparse.Namespace) -> int:
    from lamplan.checkup import new_robot

    if options.out is None and (options.name == ".." or Path(options.name).name != options.name):
        raise InputError(f"'{options.name}' is no name for a folder under controllers/; give a plain name, and --out for another place.")
    path, found = new_robot(options.log, options.name, options.out or Path("controllers") / options.name, options.camera, options.rate)
    print(f"wrote {path}; read it through before a robot moves by it.")
    if found.troubles:
        print(f"lamplan robot: the log has trouble ({len(found.troubles)}), which these numbers may come from; the first: "
              f"{found.troubles[0]} See it all with lamplan check {shlex.quote(str(options.log))}.", file=sys.stderr)
    return 0
