"""The same done to many things: a selection that doesn't grow, and a progress that survives its worker.

A selection is the list of the runs, dead letters or entries of the quarantine that fitted a filter when
somebody looked, kept for a day under a token.
Executing it goes through that list in order and notes after every few how far it is. The note is a lease too:
one process at a time works on it, and another goes on where a dead one stopped. What was done and not noted
any more is asked for again under the same names, which changes nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from tidemill.kernel.errors import (
    BrokerUnavailableError,
    HistoryError,
    NotFoundError,
    TidemillError,
    WrongSequenceError,
)
from tidemill.kernel.services.bulk_verbs import Kind, Verb

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket

MOST: Final = 10_000
"""Things of one selection."""
_AT_ONCE: Final = 50
_STALE_SECONDS: Final = 15.0
_PROBLEMS: Final = 10
_TOKEN_BYTES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was looked at before it was decided.

    Attributes:
        token: its name.
        kind: of what it is.
        verb: what is to be done.
        where: the filter, as it was written.
        items: what fitted it: ids of runs, also of those that left dead letters; sequences of entries.
        complete: whether these were all.
        reason: why; kept in the journals of what is cancelled or retried, and in the record of changes.
        by: who has looked.
        at: when, in seconds since the epoch.
    """

    token: str
    kind: Kind = "runs"
    verb: Verb
    where: dict[str, str]
    items: tuple[str, ...]
    complete: bool
    reason: str = ""
    by: str = ""
    at: float = 0.0

    def noted(self, progress: Progress) -> dict[str, str]:
        """Return what the record of changes says of its execution, which was as far as `progress` says."""
        asked = " ".join([self.verb, *(f"{name}={value}" for name, value in self.where.items())])
        told = {self.kind: str(progress.total), "of": asked, "before": str(progress.next)}
        return told | ({"reason": self.reason} if self.reason else {})


class Deed(Protocol):
    """Does what is to be done to one thing of a selection."""

    async def do(self, selection: Selection, item: str, *, again: bool) -> str:
        """Return `done`, `queued` (it is stored and will be done), or why it can't be done.

        With `again` somebody who was cut short may have done it already, which counts as done.

        Raises:
            TidemillError: it can't be done.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the execution of a selection is.

    `done` were changed, `queued` will be, `refused` don't allow it any more or aren't kept; `next` is the
    place of the first thing that nothing is noted of. `problems` are the first reasons of refusals.
    """

    total: int
    next: int = 0
    done: int = 0
    queued: int = 0
    refused: int = 0
    problems: tuple[str, ...] = ()
    worker: str = ""
    by: str = ""
    at: float = 0.0

    @property
    def over(self) -> bool:
        """Whether all of it has been done."""
        return bool(self.worker) and self.next >= self.total

    def state(self, now: float) -> str:
        """Return `selected`, `running`, `interrupted` (nobody works on it any more) or `done`."""
        if not self.worker:
            return "selected"
        if self.over:
            return "done"
        return "running" if now - self.at < _STALE_SECONDS else "interrupted"


class BulkActions:
    """Selections, and their execution.

    Args:
        bucket: where they are kept.
        deeds: what is done to one thing of each kind.
    """

    def __init__(self, bucket: Bucket, deeds: Mapping[Kind, Deed]) -> None:
        self._bucket = bucket
        self._deeds = deeds

    async def select(  # noqa: PLR0913 - what a selection is made of
        self,
        verb: Verb,
        items: Sequence[str],
        *,
        kind: Kind = "runs",
        where: Mapping[str, str],
        complete: bool,
        reason: str = "",
        by: str = "",
    ) -> Selection:
        """Keep a selection for a day.

        Raises:
            BrokerError: it isn't kept.
        """
        selection = Selection(
            token=secrets.token_hex(_TOKEN_BYTES),
            kind=kind,
            verb=verb,
            where=dict(where),
            items=tuple(items[:MOST]),
            complete=complete and len(items) <= MOST,
            reason=reason,
            by=by,
            at=time.time(),
        )
        await self._bucket.put(f"{selection.token}.selection", orjson.dumps(asdict(selection)))
        return selection

    async def find(self, token: str) -> tuple[Selection, Progress]:
        """Return a selection, and how far its execution is.

        Raises:
            NotFoundError: there is none with this token, or it was made more than a day ago.
            BrokerError: the broker can't be asked.
        """
        selection = await self._selection(token)
        return selection, (await self._progress(selection))[0]

    async def execute(self, token: str, *, by: str = "") -> AsyncIterator[Progress]:
        """Do to everything of a selection what it is for, and yield how far that is, until it is done.

        While another process works on it, that one's progress is yielded. Repeating it changes nothing.

        Raises:
            NotFoundError: there is no such selection.
            BrokerError: the broker is away; executing it again goes on from there.
        """
        selection, worker = await self._selection(token), secrets.token_hex(8)
        while True:
            progress, revision = await self._progress(selection)
            yield progress
            if progress.over:
                return
            if progress.state(time.time()) == "running" and progress.worker != worker:
                await asyncio.sleep(1.0)
                continue
            taken = replace(progress, worker=worker, by=progress.by or by, at=time.time())
            async for step in self._work(selection, taken, revision, again=bool(progress.worker)):
                yield step

    async def _work(
        self, selection: Selection, progress: Progress, revision: int, *, again: bool
    ) -> AsyncIterator[Progress]:
        """Work on a selection until it is done, or another process has taken it over.

        With `again` somebody else was at work on the first few.
        """
        while True:
            try:
                revision = await self._note(selection, progress, revision)
            except WrongSequenceError:
                return
            if progress.over:
                return
            few = selection.items[progress.next : progress.next + _AT_ONCE]
            outcomes = await _all(self._one(selection, item, again=again) for item in few)
            progress, again = _further(progress, outcomes), False
            yield progress

    async def _one(self, selection: Selection, item: str, *, again: bool) -> str:
        """Do it to one thing; return `done`, `queued`, or why it can't be done."""
        try:
            return await self._deeds[selection.kind].do(selection, item, again=again)
        except (BrokerUnavailableError, HistoryError):
            raise
        except TidemillError as error:
            return f"{item}: {error.sentence}"

    async def _selection(self, token: str) -> Selection:
        stored = await self._bucket.get(f"{token}.selection") if _is_token(token) else None
        if stored is None:
            raise NotFoundError(
                f"there is no selection {token!r}", hint="one is kept for a day: look again, and decide anew"
            )
        facts: dict[str, Any] = orjson.loads(stored.value)
        return Selection(**facts | {"items": tuple(facts["items"])})

    async def _progress(self, selection: Selection) -> tuple[Progress, int]:
        stored = await self._bucket.get(f"{selection.token}.progress")
        if stored is None:
            return Progress(total=len(selection.items)), 0
        facts: dict[str, Any] = orjson.loads(stored.value)
        return Progress(**facts | {"problems": tuple(facts["problems"])}), stored.revision

    async def _note(self, selection: Selection, progress: Progress, revision: int) -> int:
        key = f"{selection.token}.progress"
        return await self._bucket.put(key, orjson.dumps(asdict(progress)), revision=revision)


async def _all(asked: Iterable[Coroutine[Any, Any, str]]) -> list[str]:
    """Wait for all, then raise what the first has raised."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if isinstance(answer, str)]


def _further(progress: Progress, outcomes: Sequence[str]) -> Progress:
    """Return how far it is after a few more."""
    problems = [one for one in outcomes if one not in ("done", "queued")]
    return replace(
        progress,
        next=progress.next + len(outcomes),
        done=progress.done + outcomes.count("done"),
        queued=progress.queued + outcomes.count("queued"),
        refused=progress.refused + len(problems),
        problems=(*progress.problems, *problems)[:_PROBLEMS],
        at=time.time(),
    )


def told(selection: Selection, progress: Progress) -> dict[str, Any]:
    """Return a selection with its progress as data, without what it is of."""
    facts = {name: value for name, value in asdict(progress).items() if name not in ("worker", "at", "next")}
    return {
        "token": selection.token,
        "what": selection.kind,
        "action": selection.verb,
        "where": selection.where,
        "complete": selection.complete,
        "state": progress.state(time.time()),
        "looked_at": progress.next,
        **facts,
    }


def _is_token(token: str) -> bool:
    return len(token) == 2 * _TOKEN_BYTES and set(token) <= set("0123456789abcdef")
