"""What runs have answered the senders of their events: as it was kept, or as their journals have it."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from tidemill.kernel.errors import BrokerError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.journal import Journal
from tidemill.kernel.protocol.records import Entry, decode
from tidemill.kernel.protocol.state import Phase, State, fold
from tidemill.kernel.reply import Reply, replied
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.subjects import run_of_event

_STALE_SECONDS: Final = 2.0
"""How old a view of the definitions may be; a gateway that follows them reads nothing here."""


class Known(NamedTuple):
    """What is known of a delivery's answer; `open` says that there may be one yet."""

    reply: Reply | None
    open: bool


class Answers:
    """Looks for the answers of a delivery's runs: of the tasks with `reply=True` that want its event."""

    def __init__(self, kept: Bucket, journal: Journal, definitions: Definitions) -> None:
        self._kept = kept
        self._journal = journal
        self._definitions = definitions

    async def wanted(self, event_type: str) -> bool:
        """Say whether a task may answer the sender of such an event; true also where nobody knows."""
        if self._tasks(event_type):
            return True
        try:
            await self._definitions.settle()
            await self._definitions.refresh(newer_than=time.time() - _STALE_SECONDS)
        except BrokerError:
            return True
        return bool(self._tasks(event_type))

    async def known(self, key: str, event_type: str) -> Known:
        """Return what the runs of a delivery have answered.

        Raises:
            BrokerError: it can't be looked up.
            PayloadError: what was kept is no answer.
        """
        kept = await self._kept.get(key)
        if kept is not None:
            return Known(Reply.decode(kept.value), open=False)
        undecided = False
        for task in self._tasks(event_type):
            state = await self._state(run_of_event(key, task))
            reply = replied(state.steps.values())
            if reply is not None:
                return Known(reply, open=False)
            # A run that isn't there yet may come; one whose journal was closed has said what it had to.
            undecided |= state.phase not in (Phase.ENDED, Phase.CLOSED)
        return Known(None, undecided)

    def _tasks(self, event_type: str) -> list[str]:
        return [task.id for task in self._definitions.active() if task.reply and task.wants(event_type)]

    async def _state(self, run: str) -> State:
        stored = await self._journal.read_leader(run)
        return fold(Entry(entry.seq, decode(entry.body), entry.at) for entry in stored)
