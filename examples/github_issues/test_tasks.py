"""Tests of the tasks: they are called like the functions that they are, without broker or worker.

Run them with `python -m pytest`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import tasks
from tasks import Issue, IssueEvent, Repository, User

from tidemill import Abort, RetryAfter, testing

OPENED = IssueEvent(
    action="opened",
    issue=Issue(
        number=118,
        title="Low water is an hour late",
        state="open",
        updated_at=datetime(2026, 10, 26, tzinfo=UTC),
        user=User(login="tomas-brandt", type="User"),
    ),
    repository=Repository(full_name="saltmarsh-works/tide-tables"),
)


def thank(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response) -> tuple[str, httpx.Request]:
    """Call the task with a GitHub that gives one answer; return its result and what GitHub was asked."""
    asked: list[httpx.Request] = []

    def github(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer

    transport = httpx.MockTransport(github)
    monkeypatch.setattr(
        tasks, "new_client", lambda: httpx.AsyncClient(transport=transport, base_url=tasks.API)
    )
    with testing.active():
        return asyncio.run(tasks.thank(OPENED)), asked[0]


def test_the_reporter_is_thanked(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = thank(monkeypatch, httpx.Response(201, json={"html_url": "https://github.com/c/1"}))
    assert result == "https://github.com/c/1"
    assert asked.url.path == "/repos/saltmarsh-works/tide-tables/issues/118/comments"
    assert b"@tomas-brandt" in asked.content


def test_a_rate_limit_says_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RetryAfter) as caught:
        thank(monkeypatch, httpx.Response(429, headers={"Retry-After": "90"}))
    assert caught.value.delay == 90


def test_a_used_up_quota_names_the_instant(monkeypatch: pytest.MonkeyPatch) -> None:
    reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1793000000"}
    with pytest.raises(RetryAfter) as caught:
        thank(monkeypatch, httpx.Response(403, headers=reset))
    assert caught.value.delay == datetime.fromtimestamp(1793000000, UTC)


def test_what_github_refuses_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Abort, match="410 gone"):
        thank(monkeypatch, httpx.Response(410, text="gone"))


def test_what_github_cant_do_now_is_an_error_that_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        thank(monkeypatch, httpx.Response(502))


def test_the_newest_state_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tasks, "DATABASE", tmp_path / "issues.db")
    later = OPENED.issue.model_copy(
        update={"state": "closed", "updated_at": OPENED.issue.updated_at + timedelta(days=1)}
    )
    for issue in (OPENED.issue, later, later, OPENED.issue):
        tasks.record(OPENED.model_copy(update={"issue": issue}))
    with closing(sqlite3.connect(tmp_path / "issues.db")) as database:
        assert database.execute("SELECT number, state FROM issues").fetchall() == [(118, "closed")]
