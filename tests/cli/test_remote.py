"""Both ways to an installation: the same documents, and errors that say where to look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.cli.asking import open_remote
from tidemill.cli.remote import Remote
from tidemill.kernel.errors import (
    ConflictError,
    ControlError,
    NotFoundError,
    PayloadError,
    SettingsError,
    TidemillError,
)
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from conftest import Mill

Ask = Callable[[Remote], Awaitable[Any]]
NO_RUN = "run_00000000000000000000000000"


@pytest.fixture
async def both(mill: Mill) -> AsyncIterator[tuple[Remote, Remote]]:
    """The direct way and the one over HTTP."""
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(open_remote(Settings.load(None, {})))
        url = {"client": {"url": mill.control}}
        http = await stack.enter_async_context(open_remote(Settings.load(None, {}, url)))
        yield direct, http


@pytest.mark.integration
async def test_both_ways_give_the_same_documents(both: tuple[Remote, Remote]) -> None:
    direct, http = both
    run = (await direct.start("doomed", b"5", {"idempotency_key": "documents", "tags": ["a"]}))["run_id"]
    assert (await http.start("doomed", b"5", {"idempotency_key": "documents"}))["run_id"] == run
    async with asyncio.timeout(20):
        while (await direct.run(run))["status"] != "failed":  # noqa: ASYNC110 - another process fails it
            await asyncio.sleep(0.02)
    questions: list[Ask] = [
        lambda remote: remote.tasks(),
        lambda remote: remote.task("announce"),
        lambda remote: remote.run(run),
        lambda remote: remote.runs(task="doomed", status="failed", limit=5),
        lambda remote: remote.events(source="github", event_type="github.>", before=None, limit=5),
        lambda remote: remote.records(kind=None, source=None, limit=5),
        lambda remote: remote.deliveries({"source": "github", "since": "1h"}, 5),
        lambda remote: remote.quarantine({}, before=None, limit=5),
        lambda remote: remote.quarantine({"source": "github", "since": "1h"}, before=None, limit=5),
        lambda remote: remote.dead({}, before=None, limit=5),
        lambda remote: remote.dead({"task": "doomed", "error": "value"}, before=2, limit=5),
        lambda remote: remote.dead_letter(run),
    ]
    for question in questions:
        assert await question(direct) == await question(http)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("question", "error"),
    [
        (lambda remote: remote.run(NO_RUN), NotFoundError),
        (lambda remote: remote.run("a.>"), NotFoundError),
        (lambda remote: remote.tell_run(NO_RUN, "cancel", ""), NotFoundError),
        (lambda remote: remote.replay_run(NO_RUN), NotFoundError),
        (lambda remote: remote.task("nobody"), NotFoundError),
        (lambda remote: remote.remove_task("nobody"), NotFoundError),
        (lambda remote: remote.event("nobody/at all?"), NotFoundError),
        (lambda remote: remote.event_body("nobody"), NotFoundError),
        (lambda remote: remote.quarantined("nobody"), NotFoundError),
        (lambda remote: remote.dead_letter("nobody"), NotFoundError),
        (lambda remote: remote.retry_dead("nobody"), NotFoundError),
        (lambda remote: remote.runs(task=None, status="late", limit=1), NotFoundError),
        (lambda remote: remote.events(source=None, event_type="a.>.b", before=None, limit=1), PayloadError),
        (lambda remote: remote.start("doomed", b"5", {"never": 1}), PayloadError),
        (lambda remote: remote.start("doomed", b'"text"', {}), PayloadError),
    ],
)
async def test_both_ways_refuse_alike(
    both: tuple[Remote, Remote], question: Ask, error: type[TidemillError]
) -> None:
    for remote in both:
        with pytest.raises(error) as caught:
            await question(remote)
        assert caught.value.sentence


@pytest.mark.integration
async def test_a_key_with_another_payload_is_a_conflict(both: tuple[Remote, Remote]) -> None:
    await both[0].start("doomed", b"1", {"idempotency_key": "conflict"})
    for remote in both:
        with pytest.raises(ConflictError, match="another payload"):
            await remote.start("doomed", b"2", {"idempotency_key": "conflict"})


async def look(overrides: dict[str, Any]) -> None:
    async with open_remote(Settings.load(None, {}, overrides)) as remote:
        await remote.tasks()


async def test_a_folder_without_a_broker_is_said_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match="no broker has ever run in") as caught:
        await look({})
    assert "--url" in caught.value.hint
    assert not (tmp_path / ".tidemill").exists()


async def test_whoever_isnt_there_is_named() -> None:
    with pytest.raises(ControlError, match=r"http://127\.0\.0\.1:1"):
        await look({"client": {"url": "http://127.0.0.1:1"}})
    with pytest.raises(SettingsError, match="env:NO_KEY"):
        await look({"client": {"url": "http://127.0.0.1:1", "key": "env:NO_KEY"}})
