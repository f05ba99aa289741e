"""`at_rate`: one rule for what becomes of a log that was recorded at another rate than its robot acts at."""

from __future__ import annotations

from lamplan.errors import DataError
from lamplan.logs.episode import Episode
from lamplan.robot import RobotSpec

RATE_TOLERANCE = 0.02
CLOCK_TOLERANCE = 0.1
"""Of an episode whose own clock gives its rate: a control loop aims at one rate and, by its load, keeps it only roughly. DROID's aims at
15 Hz, and its episodes run at 13.7 to 14.6."""
FASTER = 2.0
"""From so many times the robot's rate on, the frame nearest to a step's time lies within a quarter of a step of it."""


def at_rate(episode: Episode, spec: RobotSpec) -> Episode:
    """The episode as it is where it has the robot's rate, resampled where it is at least FASTER times as fast; DataError otherwise."""
    if same_rate(episode.rate_hz, spec.rate_hz, tolerance(episode)):
        return episode
    if advice := rate_advice(episode, spec):
        raise DataError(f"{episode.source} was recorded at {episode.rate_hz:g} Hz, but {spec.name} acts at {spec.rate_hz:g} Hz; {advice}.")
    return episode.resampled(spec.rate_hz)


def tolerance(episode: Episode) -> float:
    """The share by which an episode's rate may differ from its robot's."""
    return RATE_TOLERANCE if episode.times_s is None else CLOCK_TOLERANCE


def same_rate(recorded_hz: float, robot_hz: float, within: float = RATE_TOLERANCE) -> bool:
    return abs(recorded_hz / robot_hz - 1) <= within


def fast_enough(recorded_hz: float, robot_hz: float, within: float = RATE_TOLERANCE) -> bool:
    """Whether a log can be read at a lower rate."""
    return recorded_hz >= FASTER * robot_hz * (1 - within)


def rate_advice(episode: Episode, spec: RobotSpec) -> str | None:
    """What to do where an episode can be read neither as it is nor resampled; None where it can."""
    recorded_hz = episode.rate_hz
    if same_rate(recorded_hz, spec.rate_hz, tolerance(episode)):
        return None
    if recorded_hz < spec.rate_hz:
        return "record at that rate, or lower rate_hz in robot.toml"
    if spec.source == "commanded":
        return ("a robot does less than the sum of the commands that it lags behind, so that nothing tells what one command for a longer "
                f"step would have been: set rate_hz in robot.toml to {recorded_hz:.4g}, or source = 'measured'")
    if fast_enough(recorded_hz, spec.rate_hz, tolerance(episode)):
        return None
    return (f"set rate_hz in robot.toml to {recorded_hz:.4g}, or to {recorded_hz / FASTER:.4g} or less: in between, the recorded frames "
            "lie too unevenly around the robot's steps")
