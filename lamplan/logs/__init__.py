"""Robot logs with known actions: one reader per file format, all giving the same `Episode`."""

from lamplan.logs.check import check_limits
from lamplan.logs.episode import Episode
from lamplan.logs.lerobot_writer import LeRobotWriter
from lamplan.logs.open import open_log
from lamplan.logs.path import path_of
from lamplan.logs.rate import at_rate
from lamplan.logs.record import open_writer
from lamplan.logs.select import episodes_of
from lamplan.logs.writer import LogWriter

__all__ = ["Episode", "LeRobotWriter", "LogWriter", "at_rate", "check_limits", "episodes_of", "open_log", "open_writer", "path_of"]
