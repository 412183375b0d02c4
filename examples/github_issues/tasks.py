"""Thank whoever opens an issue at GitHub, and keep a table of all issues.

Serve it with `tidemill dev tasks.py`.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
from pydantic import BaseModel

from tidemill import Abort, Context, Retry, RetryAfter, task

API = os.environ.get("GITHUB_API", "https://api.github.com")
DATABASE = Path("issues.db")


class User(BaseModel):
    """Who did it."""

    login: str
    type: str


class Issue(BaseModel):
    """The parts of an issue that the tasks rely on; whatever else GitHub sends is let through."""

    number: int
    title: str
    state: str
    updated_at: datetime
    user: User


class Repository(BaseModel):
    """Where it was opened."""

    full_name: str


class IssueEvent(BaseModel):
    """GitHub's event `issues`."""

    action: str
    issue: Issue
    repository: Repository


@task(
    on="github.issues.opened",
    where="data.issue.user.type != 'Bot'",
    retry=Retry(max_attempts=8, min_delay=2, max_delay="10m"),
    concurrency=2,
    timeout=30,
)
async def thank(event: IssueEvent, ctx: Context) -> str:
    """Comment on a new issue. What GitHub can't do now is tried again, what it refuses is given up on."""
    path = f"/repos/{event.repository.full_name}/issues/{event.issue.number}/comments"
    comment = f"Thank you, @{event.issue.user.login}! We will have a look at it."
    async with new_client() as client:
        answer = await client.post(path, json={"body": comment})
    if (pause := rate_limit(answer)) is not None:
        raise RetryAfter(pause, "GitHub's rate limit")
    if answer.is_client_error:
        raise Abort(f"GitHub refuses the comment: {answer.status_code} {answer.text[:200]}")
    answer.raise_for_status()
    ctx.log.info("thanked %s", event.issue.user.login)
    url: str = answer.json()["html_url"]
    return url


@task(on="github.issues.*")
def record(event: IssueEvent) -> None:
    """Keep an issue's newest state. A task may be executed twice, so doing it twice changes nothing."""
    issue = event.issue
    row = (event.repository.full_name, issue.number, issue.title, issue.state, issue.updated_at.isoformat())
    with closing(sqlite3.connect(DATABASE)) as database, database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS issues (repository TEXT, number INTEGER, title TEXT, state TEXT,"
            " updated_at TEXT, PRIMARY KEY (repository, number))"
        )
        database.execute(
            "INSERT INTO issues VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " title = excluded.title, state = excluded.state, updated_at = excluded.updated_at"
            " WHERE excluded.updated_at >= issues.updated_at",  # events may overtake each other
            row,
        )


def new_client() -> httpx.AsyncClient:
    """Return a client of GitHub's REST API."""
    headers = {"Accept": "application/vnd.github+json"}
    if token := os.environ.get("GITHUB_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    return httpx.AsyncClient(base_url=API, headers=headers, timeout=10)


def rate_limit(answer: httpx.Response) -> float | datetime | None:
    """Return when GitHub wants to be asked again; None where no rate limit was met."""
    if answer.status_code not in (httpx.codes.FORBIDDEN, httpx.codes.TOO_MANY_REQUESTS):
        return None
    if "retry-after" in answer.headers:
        return float(answer.headers["retry-after"])
    if answer.headers.get("x-ratelimit-remaining") == "0":
        return datetime.fromtimestamp(float(answer.headers["x-ratelimit-reset"]), UTC)
    return None
