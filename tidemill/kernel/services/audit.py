"""The record of changes: who did what, when, and from where.

An entry is stored before the change is made: what can't be recorded isn't done. What came of it follows in a
second message, as well as possible; a change without one was cut short, or its outcome couldn't be stored.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.errors import BrokerError, TidemillError
from tidemill.kernel.jetstream.scan import newest

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

STREAM: Final = "AUDIT"
DONE: Final = "done"
_CHANGE: Final = "change"
_OUTCOME: Final = "outcome"
_LONGEST: Final = 512
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody is about to do.

    Attributes:
        who: their name.
        how: the way they came in: `local`, `key`, `oidc`, `proxy` or `cli`.
        action: what it is, like `runs.cancel`.
        target: what it is done to: an id or a name; empty where there is nothing to name.
        client: the address that it comes from; of the command line, the machine.
    """

    who: str
    how: str
    action: str
    target: str
    client: str

    def document(self) -> dict[str, str]:
        """Return it as it is stored."""
        facts = {"who": self.who, "how": self.how, "action": self.action}
        return facts | {"target": self.target[:_LONGEST], "client": self.client}


class Audit:
    """Writes and reads the record."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def begin(self, change: Change) -> str:
        """Store what is about to be done, and return the entry's id.

        Raises:
            BrokerError: it couldn't be stored: the change must not be made.
        """
        entry = secrets.token_hex(10)
        await self._bus.publish(self._subject(_CHANGE, entry), orjson.dumps(change.document()))
        return entry

    async def end(self, entry: str, outcome: str, detail: dict[str, str] | None = None) -> None:
        """Store what came of it: `done`, or why not; `detail` is what else is worth knowing."""
        document = {"outcome": outcome[:_LONGEST]} | ({"detail": detail} if detail else {})
        try:
            await self._bus.publish(self._subject(_OUTCOME, entry), orjson.dumps(document))
        except BrokerError as error:
            _log.warning("the outcome of %s was not recorded (%s): %s", entry, outcome, error.sentence)

    @asynccontextmanager
    async def change(self, change: Change) -> AsyncIterator[None]:
        """Record what the block does, and how it ends.

        Raises:
            BrokerError: it couldn't be recorded; the block wasn't entered.
        """
        entry = await self.begin(change)
        try:
            yield
        except TidemillError as error:
            await self.end(entry, error.sentence)
            raise
        await self.end(entry, DONE)

    async def list(
        self,
        *,
        who: str | None = None,
        action: str | None = None,
        target: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """Return the newest changes.

        Args:
            who: by this person or key only.
            action: of this kind only; `runs` stands for all that begin with `runs.`.
            target: done to this only.
            before: older than this sequence, to continue a listing.
            limit: at most so many.

        Raises:
            BrokerError: the record can't be read.
        """
        outcomes: dict[str, dict[str, Any]] = {}
        found: list[dict[str, Any]] = []
        async for message in newest(self._bus, STREAM, self._subject("*", "*")):
            _, kind, entry = self._bus.names.tokens(message.subject)
            facts = orjson.loads(message.body)
            if kind == _OUTCOME:
                outcomes[entry] = facts
                continue
            outcome = outcomes.pop(entry, {})
            if (before is None or message.seq < before) and _fits(facts, who, action, target):
                shown = {"at": message.at.isoformat(), **facts, "outcome": outcome.get("outcome")}
                found.append({**shown, "detail": outcome.get("detail"), "id": entry, "seq": message.seq})
            if len(found) >= limit:
                break
        return found

    def _subject(self, kind: str, entry: str) -> str:
        return self._bus.names.subject("audit", kind, entry)


def _fits(facts: dict[str, Any], who: str | None, action: str | None, target: str | None) -> bool:
    given = str(facts["action"])
    return (
        who in (None, facts["who"])
        and target in (None, facts["target"])
        and (action is None or given == action or given.startswith(f"{action}."))
    )
