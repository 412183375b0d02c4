"""Listing runs while they move on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.jetstream.journal import Journal, LastEntry
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.services.registry import publish
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.trigger import parse_request

if TYPE_CHECKING:
    from conftest import BrokerProcess

    from tidemill.kernel.subjects import Names


@pytest.mark.integration
@pytest.mark.usefixtures("bus")  # it deletes the namespace's streams
async def test_a_run_that_moves_on_during_the_listing_is_listed_once(
    broker: BrokerProcess, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Journal.runs

    async def twice(self: Journal, *, headers_only: bool = False) -> AsyncIterator[LastEntry]:
        for _ in range(2):
            async for entry in once(self, headers_only=headers_only):
                yield entry

    settings = Settings.load(None, {}, {"nats": {"url": broker.url, "namespace": names.namespace}})
    async with open_broker(settings, name="test") as opened:
        await publish(opened.tasks, TaskDefinition(id="a"))
        runs = Runs(opened)
        started = [(await runs.trigger(parse_request("a", b"1", {}))).id for _ in range(2)]
        monkeypatch.setattr(Journal, "runs", twice)
        assert [view.id for view in await runs.list()] == started[::-1]
