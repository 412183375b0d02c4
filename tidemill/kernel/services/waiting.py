"""What runs wait for from outside: events to look out for, and decisions that people are asked for.

The entries are a directory, not the truth: what a run waits for stands in its journal, and what came of it in
its mailbox. An entry that outlives its wait is refused by the run; it expires a while after the wait's end.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.errors import WrongSequenceError
from tidemill.kernel.subjects import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.jetstream.messages import Subscription

_AFTER_SECONDS: Final = 3600.0
_LONGEST_SECONDS: Final = 400 * 86_400.0


class Waiting:
    """The directory of open waits, one entry for each mailbox that the outside has to know of."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def open(self, run: str, box: str, facts: Mapping[str, Any], *, until: float | None) -> None:
        """Enter a wait until its end (seconds since the epoch); one that stands there stays as it is."""
        rest = until - time.time() if until is not None else _LONGEST_SECONDS
        keep = min(max(0.0, rest) + _AFTER_SECONDS, _LONGEST_SECONDS)
        body = orjson.dumps({"run": run, "box": box, "until": until, **facts})
        try:
            await self._bucket.create(key_of(run, box), body, keep=keep, again=True)
        except WrongSequenceError:
            return  # an earlier execution of the same code has entered it

    async def close(self, run: str, box: str) -> None:
        """Remove the entry of a wait that is over; a run that waits again enters it again."""
        await self._bucket.delete(key_of(run, box), keep=_AFTER_SECONDS)

    async def find(self, run: str, box: str) -> dict[str, Any] | None:
        """Return the entry of a wait, None where there is none."""
        value = await self._bucket.get(key_of(run, box))
        return None if value is None else _read(value.value)

    async def all(self) -> list[dict[str, Any]]:
        """Return all entries."""
        return [_read(value) for value in (await self._bucket.items()).values()]

    async def changes(self, start: int) -> tuple[list[tuple[str, dict[str, Any] | None, float]], int]:
        """Return the entries that were written since a sequence, and the next one.

        Each with its key, what it says (None: it was removed), and when, by the broker's clock.
        """
        found, after = await self._bucket.changes(start)
        return [
            (key, _read(v.value) if v is not None else None, v.at if v is not None else 0.0)
            for key, v in found
        ], after

    async def watch(self, hint: Callable[[str], None]) -> Subscription:
        """Call `hint` whenever somebody writes an entry, before the write is acknowledged."""
        return await self._bucket.watch(hint)


def key_of(run: str, box: str) -> str:
    """Return the key of a wait's entry."""
    return f"{run}.{escape(box)}"


def _read(value: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = orjson.loads(value)
    return facts
