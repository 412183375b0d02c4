"""The log: what records carry is written, and no stranger's text reaches a terminal as it is."""

from __future__ import annotations

import json
import logging

import pytest

from tidemill.cli.logs import JsonFormatter, TextFormatter, set_up_logs
from tidemill.kernel.settings.sections import LogSettings


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("tidemill.task.deploy", logging.WARNING, __file__, 1, message, args, None)
    vars(made).update(extra)
    return made


def test_json_holds_what_a_task_logger_adds() -> None:
    facts = json.loads(JsonFormatter().format(record("push of %s", "main", run_id="run_1", attempt=2)))
    assert facts.pop("time").endswith("Z")
    assert facts == {
        "level": "warning",
        "logger": "tidemill.task.deploy",
        "message": "push of main",
        "run_id": "run_1",
        "attempt": 2,
    }


def test_json_is_one_line_whatever_is_in_it() -> None:
    made = record("two\nlines", thing={1: object()})
    error = ValueError("a\nb")
    made.exc_info = (ValueError, error, None)
    line = JsonFormatter().format(made)
    assert "\n" not in line
    assert "ValueError: a\nb" in json.loads(line)["exception"]


def test_text_shows_extras_and_escapes_control_characters() -> None:
    line = TextFormatter().format(record("push \x1b[31m", run_id="run_1"))
    assert line.endswith(r"warning  tidemill.task.deploy: push \x1b[31m  run_id=run_1")


@pytest.fixture
def root() -> logging.Logger:
    return logging.getLogger()


@pytest.mark.parametrize(
    ("level", "quiet", "expected"),
    [("info", False, "INFO"), ("info", True, "WARNING"), ("debug", True, "DEBUG"), ("error", True, "ERROR")],
)
def test_a_quiet_command_leaves_out_what_merely_informs(
    *, level: str, quiet: bool, expected: str, root: logging.Logger
) -> None:
    handlers, before = root.handlers[:], root.level
    try:
        set_up_logs(LogSettings.model_validate({"level": level}), quiet=quiet)
        assert logging.getLevelName(root.level) == expected
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
        logging.captureWarnings(capture=False)
