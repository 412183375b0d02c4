"""Dead letters from the outside: list them, look at one, bring its run back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError
from tidemill.kernel.jetstream.scan import StoredMessage, newest
from tidemill.kernel.letters import open_letter
from tidemill.kernel.protocol.mailman import Answer
from tidemill.kernel.services.broker import Broker
from tidemill.kernel.services.dead_query import DeadQuery
from tidemill.kernel.services.looking import AT_ONCE, LIST_SECONDS, Found, Row, look
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.subjects import unescape

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What was given up on; `key` names it: a run's id, or `message-<n>` where it never became a run."""

    key: str
    task: str
    seq: int
    at: str
    facts: dict[str, Any]
    raw: bytes

    @property
    def is_run(self) -> bool:
        """Whether it became a run, which can be retried."""
        return "run" in self.facts

    def summary(self) -> dict[str, Any]:
        """Return what identifies the letter and why it lies here."""
        attempts = self.facts.get("attempts") or [{}]
        last = attempts[-1]
        error = f"{last.get('type', '')}: {last.get('message', '')}".removeprefix(": ")
        return {
            "id": self.key,
            "seq": self.seq,
            "task": self.task,
            "outcome": self.facts.get("outcome"),
            "attempts": len(attempts),
            "error": error,
            "at": self.at,
        }

    def details(self) -> dict[str, Any]:
        """Return everything but the input's bytes."""
        return self.summary() | {
            "errors": self.facts.get("attempts", []),
            "event": self.facts.get("event"),
            "blob": self.facts.get("blob"),
            "input_bytes": len(self.raw),
        }


class DeadLetters:
    """The DEAD stream."""

    def __init__(self, broker: Broker, runs: Runs) -> None:
        self._broker = broker
        self._runs = runs

    async def list(
        self,
        query: DeadQuery | None = None,
        *,
        before: int | None = None,
        limit: int = 50,
        seconds: float = LIST_SECONDS,
    ) -> Found[DeadLetter]:
        """Return the newest letters that are wanted, newest first.

        Args:
            query: which.
            before: return older ones than this sequence only, to continue a listing.
            limit: return at most so many.
            seconds: look for so long; there may be more behind what was found then.

        Raises:
            BrokerError: the stream can't be read.
        """
        return await self._look(query or DeadQuery(), lambda one: one, before, limit, seconds)

    async def select(self, query: DeadQuery, *, limit: int, seconds: float) -> Found[str]:
        """Return the runs whose letters are wanted, the newest first; what never became a run isn't one.

        Raises:
            BrokerError: the stream can't be read.
        """
        return await self._look(query, lambda one: one.key if one.is_run else None, None, limit, seconds)

    async def _look(
        self,
        query: DeadQuery,
        kept: Callable[[DeadLetter], Row | None],
        before: int | None,
        limit: int,
        seconds: float,
    ) -> Found[Row]:
        """Look for letters that are wanted, and return what is kept of them: many may be large."""
        bus, names = self._broker.bus, self._broker.names
        subject = names.dead(query.task, "*") if query.task else names.subject("dead", "*", "*")
        messages = newest(bus, "DEAD", subject, before=before, scan_limit=None, most_at_once=AT_ONCE)

        def fitting(message: StoredMessage) -> Row | None:
            letter = self._read(message)
            fits = query.fits(letter.summary(), letter.facts.get("event"), message.at)
            return kept(letter) if fits else None

        return await look(messages, fitting, since=query.since, limit=limit, seconds=seconds)

    async def find(self, key: str) -> DeadLetter:
        """Return the newest letter of a run.

        Raises:
            NotFoundError: there is none.
        """
        subject = self._broker.names.subject("dead", "*", key)
        if key and not set(key) & set(" .*>"):
            async for message in newest(self._broker.bus, "DEAD", subject):
                return self._read(message)
        raise NotFoundError(f"there is no dead letter of {key!r}", hint="`tidemill dead list` shows them")

    async def retry(self, key: str) -> Answer | str:
        """Bring a letter's run back: the same run goes on from where it stopped.

        Raises:
            NotFoundError: there is no such letter.
            ConflictError: it never became a run, or its run can't be retried any more.
        """
        letter = await self.find(key)
        if not letter.is_run:
            raise ConflictError(
                f"{key} never became a run: {letter.summary()['error']}",
                hint="repair its cause and send the event again",
            )
        answer = await self._runs.signal(key, "retry", "retried from its dead letter")
        if answer in ("gone", "refused"):
            raise ConflictError(
                f"{key} can't go on: {answer}", hint=f"`tidemill runs replay {key}` starts anew"
            )
        return answer

    def _read(self, message: StoredMessage) -> DeadLetter:
        _, task, key = self._broker.names.tokens(message.subject)
        try:
            facts, raw = open_letter(message.body)
        except PayloadError as error:
            facts, raw = {"outcome": "unreadable", "attempts": [{"message": error.sentence}]}, message.body
        return DeadLetter(key, unescape(task), message.seq, message.at.isoformat(), facts, raw)
