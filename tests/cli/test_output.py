"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.cli.output import cell as shown
from tidemill.cli.output import printable, say, show_record, show_rows

ROWS: list[dict[str, Any]] = [
    {"run_id": "run_1", "state": "completed", "attempts": 1, "at": datetime(2026, 11, 22, tzinfo=UTC)},
    {"run_id": "run_2", "state": None, "attempts": 3, "input": {"a": [1]}},
]


def test_json_is_one_document_with_everything(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(ROWS, columns=["run_id"], as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [row["run_id"] for row in document] == ["run_1", "run_2"]
    assert document[1]["input"] == {"a": [1]}


def test_a_table_has_a_heading_and_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(ROWS, columns=["run_id", "state", "attempts"], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["run", "id", "state", "attempts"],
        ["run_1", "completed", "1"],
        ["run_2", "3"],
    ]


def test_no_rows_are_said_in_words_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([], columns=["run_id"], as_json=False, empty="no runs")
    show_rows([], columns=["run_id"], as_json=True)
    assert capsys.readouterr().out == "no runs\n[]\n"


def test_a_record_is_a_line_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    show_record(ROWS[1], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["run", "id", "run_2"],
        ["attempts", "3"],
        ["input", '{"a":[1]}'],
    ]


def test_data_is_never_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    say("[red]not red[/red] [/]")
    show_rows([{"type": "[bold]x[/]"}], columns=["type"], as_json=False)
    out = capsys.readouterr().out
    assert "[red]not red[/red] [/]" in out
    assert "[bold]x[/]" in out


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_controls_the_terminal(text: str) -> None:
    assert not any(
        ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in printable(text) if letter not in "\t\n"
    )


def test_values_are_shown_as_people_write_them() -> None:
    assert shown(value=None).plain == ""
    assert shown(value=True).plain == "yes"
    assert shown(datetime(2026, 11, 22, 10, tzinfo=UTC)).plain == "2026-11-22 10:00:00.000+00:00"
    assert shown("\x1b[31m").plain == "\\x1b[31m"
