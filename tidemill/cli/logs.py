"""The log on standard error: lines for people, or one JSON object a line for collectors.

Whatever a record carries besides its message (`run_id`, `task` and `attempt` of a handler's `ctx.log`,
or its own `extra`) is written too. Values come from strangers: no control character reaches a terminal.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.cli.output import printable

if TYPE_CHECKING:
    from tidemill.kernel.settings.sections import LogSettings

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CHATTY: Final = ("alembic", "asyncio", "httpcore", "httpx", "watchfiles")
"""Libraries that log each of their own doings: only their warnings are ours."""


def set_up_logs(settings: LogSettings, *, quiet: bool = False) -> None:
    """Send this process's log to standard error, in the format and from the level of the settings.

    A `quiet` command leaves out what it merely informs about: its output is its result.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    level = "WARNING" if quiet and settings.level == "info" else settings.level.upper()
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.captureWarnings(capture=True)


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, what the record carries, and its exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        facts: dict[str, Any] = {
            **_extras(record),
            "time": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            facts["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(facts, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """Time, level, logger, message, then what the record carries as `name=value`; the exception below."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of text."""
        moment = _moment(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        line = f"{moment} {record.levelname.lower():<8} {record.name}: {record.getMessage()}"
        extras = " ".join(f"{name}={value}" for name, value in _extras(record).items())
        text = printable(f"{line}  {extras}" if extras else line)
        return f"{text}\n{printable(self.formatException(record.exc_info))}" if record.exc_info else text


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
