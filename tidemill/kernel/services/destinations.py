"""Destinations as everybody sees them: the tasks that forward, and who has said that it is gone."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

import orjson

from tidemill.kernel import clock
from tidemill.kernel.errors import BrokerError, ConflictError, NotFoundError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.subjects import escape

PREFIX: Final = "forward."
"""What the ids of the tasks begin with that forward events."""
STALE_SECONDS: Final = 2.0
"""How old the view of a process may be."""
_log = logging.getLogger(__name__)


class Destinations:
    """What may be asked about destinations, or done to them, from outside of the forwarder."""

    def __init__(self, bucket: Bucket, definitions: Definitions) -> None:
        self._disabled = Disabled(bucket)
        self._definitions = definitions

    async def list(self) -> list[dict[str, Any]]:
        """Return all that were ever served and not removed, by name.

        Raises:
            BrokerError: the buckets can't be read.
        """
        await self._definitions.refresh()
        disabled = await self._disabled.all()
        found = [
            {
                "name": definition.id.removeprefix(PREFIX),
                "task": definition.id,
                "on": definition.on,
                "where": definition.where,
                "concurrency": definition.concurrency,
                "disabled": disabled.get(definition.id.removeprefix(PREFIX)),
            }
            for definition in self._definitions.active()
            if definition.id.startswith(PREFIX)
        ]
        return sorted(found, key=lambda row: str(row["name"]))

    async def enable(self, name: str) -> None:
        """Let a destination be sent to again.

        Raises:
            NotFoundError: there is no such destination.
            ConflictError: it isn't disabled.
            BrokerError: the bucket can't be written.
        """
        if await self._disabled.enable(name):
            return
        if all(row["name"] != name for row in await self.list()):
            raise NotFoundError(f"there is no destination {name!r}", hint="`tidemill destinations list`")
        raise ConflictError(f"destination {name} isn't disabled", hint="there is nothing to do")


class Disabled:
    """Which destinations are disabled, and since when; everybody sees the same within two seconds."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._known: dict[str, dict[str, Any]] = {}
        self._read_at = float("-inf")

    async def all(self) -> dict[str, dict[str, Any]]:
        """Return the disabled destinations by name, each with `reason` and `at`.

        Raises:
            BrokerError: the bucket can't be read.
        """
        stored = await self._bucket.items()
        found = [orjson.loads(value) for value in stored.values()]
        self._known = {one["name"]: one for one in found}
        self._read_at = time.monotonic()
        return self._known

    async def find(self, name: str) -> dict[str, Any] | None:
        """Return why a destination is disabled, None where it isn't, as far as it is known."""
        if time.monotonic() - self._read_at > STALE_SECONDS:
            self._read_at = time.monotonic()  # others needn't ask beside this one
            try:
                await self.all()
            except BrokerError as error:
                _log.debug("whether %s is disabled isn't known anew: %s", name, error.sentence)
        return self._known.get(name)

    async def disable(self, name: str, reason: str) -> None:
        """Disable a destination.

        Raises:
            BrokerError: the bucket can't be written.
        """
        entry = {"name": name, "reason": reason, "at": clock.now().isoformat()}
        await self._bucket.put(escape(name), orjson.dumps(entry))
        self._known = {**self._known, name: entry}

    async def enable(self, name: str) -> bool:
        """Let a destination be sent to again; say whether it was disabled.

        Raises:
            BrokerError: the bucket can't be written.
        """
        if name not in await self.all():
            return False
        await self._bucket.delete(escape(name))
        self._known = {key: entry for key, entry in self._known.items() if key != name}
        return True
