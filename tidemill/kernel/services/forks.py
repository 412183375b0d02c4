"""Forks from outside: a new run takes over what another had finished, and owns whatever it has of it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import orjson

from tidemill.kernel.decision import check_text
from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError, TidemillError
from tidemill.kernel.protocol.creation import create, send_first
from tidemill.kernel.protocol.forking import At, Refusal, Survey, fork_record, points_of, survey
from tidemill.kernel.protocol.inheritance import is_race
from tidemill.kernel.protocol.records import Created, Item, News, Spawned, Step, Taken, encode
from tidemill.kernel.protocol.state import Phase
from tidemill.kernel.reply import STEP
from tidemill.kernel.services.origins import input_of, origin_of
from tidemill.kernel.services.run_view import RunView
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.subjects import new_run, run_of_fork

LONGEST_POINT: Final = 1_000
"""Characters of a point's name."""
_LEAST_MOVED: Final = 256
"""Bytes of a result that is worth an object of its own."""
_MOST_NAMED: Final = 20
Part = Step | Spawned | News


class Forks:
    """Starts runs that go on from a point of others."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._broker = runs.broker

    async def look(self, run: str, at: At = None) -> Survey:
        """Return what a fork would begin with; nothing is started.

        Raises:
            NotFoundError: there is no such run.
            PayloadError: there is no such point, or it was taken over itself.
            ConflictError: the journal is closed.
        """
        if isinstance(at, str) and not 0 < len(at) <= LONGEST_POINT:
            raise PayloadError(
                f"a point's name has {len(at)} characters", hint=f"1 to {LONGEST_POINT} are right"
            )
        found = await self._broker.performer.run(survey(run, at))
        if isinstance(found, Refusal):
            raise await self._refused(run, at, found)
        return found

    async def fork(self, run: str, at: At = None, *, key: str | None = None) -> RunView:
        """Start a run that takes over all that another one had finished before a point.

        Args:
            run: the other one: finished, failed, or still going on.
            at: a part's key, a child's id or a record's sequence; None for all that it has finished.
            key: with the same one, and the same point, this starts one run.

        Raises:
            NotFoundError: there is no such run, or nobody serves its task any more.
            PayloadError: there is no such point, or it was taken over itself.
            ConflictError: the journal is closed, too much was finished, or the key is another point's.
            BrokerError: the fork wasn't created, or it is unknown whether it was.
        """
        if key is not None:
            check_text("an idempotency key", key)
        rid = f"fork-{hashlib.sha256(repr(at).encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
        fork = run_of_fork(run, key) if key is not None else new_run()
        if key is not None and (known := await self._known(fork)) is not None:
            return await self._once_more(_checked(known, rid, key))
        found = await self.look(run, at)
        await self._runs.definition(found.created.task)
        try:
            record = await self._record(run, fork, found, rid)
        except NotFoundError as error:
            raise _closed(run) from error
        except ConflictError:
            if key is None:  # else somebody may be about to create this very run, from another point
                await self._broker.blobs.delete_of(fork)
            raise
        return _checked(RunView(fork, await self._broker.performer.run(create(fork, record))), rid, key)

    async def _once_more(self, fork: RunView) -> RunView:
        """Publish the first ticket of a fork again: who has created it may have died before that."""
        if fork.state.phase is Phase.READY and fork.state.epoch == fork.state.created_seq:
            await self._broker.performer.run(send_first(fork.id, fork.state))
        return fork

    async def _known(self, fork: str) -> RunView | None:
        try:
            return await self._runs.get(fork)
        except NotFoundError:
            return None

    async def _refused(self, run: str, at: At, why: Refusal) -> TidemillError:
        """Return what says why a run can't be forked there."""
        if why is Refusal.CLOSED:
            await self._runs.status_of(run)
            return _closed(run)
        view = await self._runs.get(run)
        created = view.state.created
        if why is Refusal.TAKEN and created is not None and created.taken is not None:
            first = created.taken.run
            return PayloadError(
                f"{run} has taken {at!r} over from {first}, and hasn't done it itself",
                hint=f"fork {first} there",
            )
        points = points_of(view.entries)
        named = ", ".join(points[:_MOST_NAMED]) + (" and others" if len(points) > _MOST_NAMED else "")
        return PayloadError(
            f"{run} has nothing that is called {at!r}",
            hint=f"it has {named or 'finished nothing yet'}; a child's id and a record's number do too",
        )

    async def _record(self, run: str, fork: str, found: Survey, rid: str) -> Created:
        """Return the first record of a fork, which owns all that it refers to."""
        _, raw = await input_of(self._broker, run, origin_of(found.created))
        record = await self._runs.with_body(fork, replace(fork_record(run, found, rid=rid), blob=None), raw)
        owner = _Owner(self._put(fork), self._broker.blobs.get, self._broker.performer.result_of)
        taken = replace(found.taken, parts=tuple([await owner.own(part) for part in found.taken.parts]))
        return await self._fitting(replace(record, taken=taken), owner)

    def _put(self, fork: str) -> Callable[[bytes], Awaitable[str]]:
        return lambda data: self._broker.blobs.put(fork, data)

    async def _fitting(self, record: Created, owner: _Owner) -> Created:
        """Return a record that the broker takes: its largest results travel as objects of their own.

        Raises:
            ConflictError: it is too large without them.
        """
        most = self._broker.bus.max_payload * 3 // 4
        while (size := len(encode(record))) > most and record.taken is not None:
            taken = await owner.lighten(record.taken, size - most)
            if taken is None:
                raise ConflictError(
                    f"what {record.replayof} has finished takes {size} bytes, and a record holds {most}",
                    hint="fork it at an earlier point, or replay it from its beginning",
                )
            record = replace(record, taken=taken)
        return record


class _Owner:
    """Makes what a run has of another its own: objects of the other go with that one's journal."""

    def __init__(
        self,
        put: Callable[[bytes], Awaitable[str]],
        get: Callable[[str], Awaitable[bytes]],
        result_of: Callable[[str], Awaitable[bytes]],
    ) -> None:
        self._put = put
        self._get = get
        self._result_of = result_of

    async def own(self, part: Part) -> Part:
        """Return a part that refers to nothing of the other run."""
        if isinstance(part, News):
            return replace(part, items=tuple([await self._item(item) for item in part.items]))
        if isinstance(part, Step) and part.blob is not None:
            return replace(part, blob=await self._put(await self._get(part.blob)))
        return part

    async def _item(self, item: Item) -> Item:
        if item.blob is not None:
            return replace(item, blob=await self._put(await self._get(item.blob)))
        if item.ok and item.run is not None:
            return replace(item, run=None, blob=await self._put(await self._result_of(item.run)))
        return item

    async def lighten(self, taken: Taken, bytes_too_many: int) -> Taken | None:
        """Return it without its largest results, which are put into objects; None where none can be."""
        spawned = {part.key for part in taken.parts if isinstance(part, Spawned)}
        sizes = sorted(
            ((size, value) for part in taken.parts for value, size in _movable(part, spawned)),
            key=lambda pair: -pair[0],
        )
        moved = dict[int, Any]()
        for size, value in sizes:
            if bytes_too_many <= 0:
                break
            moved[id(value)] = value
            bytes_too_many -= size
        if not moved:
            return None
        return replace(taken, parts=tuple([await self._move(part, moved) for part in taken.parts]))

    async def _move(self, part: Part, moved: dict[int, Any]) -> Part:
        if isinstance(part, News):
            items = [
                replace(item, data=None, blob=await self._put(orjson.dumps(item.data)))
                if id(item) in moved
                else item
                for item in part.items
            ]
            return replace(part, items=tuple(items))
        if id(part) in moved and isinstance(part, Step):
            return replace(part, result=None, blob=await self._put(orjson.dumps(part.result)))
        return part


def _movable(part: Part, spawned: set[str]) -> list[tuple[Step | Item, int]]:
    """Return what of a part may lie in an object, with its size: not what the engine itself has written."""
    found: list[tuple[Step | Item, int]] = []
    if isinstance(part, News):
        found = [(item, len(orjson.dumps(item.data))) for item in part.items if item.blob is None]
    elif isinstance(part, Step) and part.outcome == "done" and part.blob is None:
        name = part.key.rpartition("/")[2].partition("#")[0]
        if part.key not in spawned and name != STEP and not is_race(part):
            found = [(part, len(orjson.dumps(part.result)))]
    return [(value, size) for value, size in found if size > _LEAST_MOVED]


def _closed(run: str) -> ConflictError:
    return ConflictError(
        f"{run} can't be forked: its journal is closed, and nobody else has all that it had finished",
        hint="replay starts a new run with its input; journal.keep says for how long journals stay open",
    )


def _checked(view: RunView, rid: str, key: str | None) -> RunView:
    """Return the run that a key has started, if it was for this point.

    Raises:
        ConflictError: it was for another.
    """
    created = view.state.created
    if created is not None and created.rid != rid:
        raise ConflictError(
            f"the idempotency key {key!r} was used for a fork at another point",
            hint=f"it started {view.id}; use another key for another fork",
        )
    return view
