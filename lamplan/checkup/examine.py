"""`examine`: all checks of one log, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lamplan.checkup.cameras import Camera, check_cameras
from lamplan.checkup.finding import Finding, Section
from lamplan.checkup.following import check_following
from lamplan.checkup.gripper import check_gripper
from lamplan.checkup.heading import check_heading
from lamplan.checkup.limits import check_motion, check_robot
from lamplan.checkup.rotation import check_rotation
from lamplan.checkup.steps import check_steps
from lamplan.checkup.survey import Survey, read_survey
from lamplan.checkup.units import to_si
from lamplan.errors import DataError
from lamplan.robot import RobotSpec


@dataclass
class Checkup:
    """What a check-up found. `survey` is in metres and radians, whatever the log is in."""

    survey: Survey
    facts: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    cameras: dict[str, Camera] = field(default_factory=dict)
    pictures: list[Path] = field(default_factory=list)  # made by others, for the page

    def add(self, section: Section) -> None:
        self.facts |= section.facts
        self.findings += section.findings

    @property
    def troubles(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "trouble"]

    @property
    def notes(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "note"]


def examine(path: Path, robot: RobotSpec | None = None) -> Checkup:
    """Opens a log of any known format and checks it, against a robot where one is given.

    Raises DataError when the log, or every single episode of it, cannot be read.
    """
    return examine_survey(read_survey(path), robot)


def examine_survey(survey: Survey, robot: RobotSpec | None = None) -> Checkup:
    """The same of a log that has been read."""
    if not survey.episodes:
        first = f"; the first: {survey.section.findings[0]}" if survey.section.findings else ""
        raise DataError(f"none of the {survey.count} episodes of {survey.name} can be used{first}")
    as_read = survey
    units, survey = to_si(survey)
    found = Checkup(survey, {"format": survey.form, "robot": survey.episodes[0].robot or "not named"})
    found.add(survey.section)
    found.add(check_steps(survey, robot))
    found.add(units)
    rotation = check_rotation(survey)
    for section in (check_motion(survey), rotation, check_heading(survey), check_gripper(survey),
                    check_following(survey, turns=not any(one.severity == "trouble" for one in rotation.findings))):
        found.add(section)
    if robot is not None:
        # As `lamplan fit` will see it: limits are in metres and radians, so wrong units break them.
        found.add(check_robot(as_read, robot))
    section, found.cameras = check_cameras(survey, robot)
    found.add(section)
    return found
