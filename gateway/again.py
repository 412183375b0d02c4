"""Verifying a single refused request again, by its delivery's id or by the name that it is kept under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill.kernel.errors import ConflictError, NotFoundError
from tidemill.kernel.services.kept import NAME

if TYPE_CHECKING:
    from gateway.reverification import Reverification
    from tidemill.kernel.services.deliveries import Deliveries
    from tidemill.kernel.services.delivery_log import Entry
    from tidemill.kernel.services.kept import KeptRequest


@dataclass(frozen=True, slots=True)
class Again:
    """Finds kept requests, and verifies one at a time."""

    deliveries: Deliveries
    reverification: Reverification

    async def run(self, wanted: str, *, dry: bool = False) -> dict[str, Any]:
        """Verify one request with the secrets of today, and let it in where it is genuine.

        Args:
            wanted: a delivery's id, or the name under which its request is kept.
            dry: change nothing.

        Raises:
            NotFoundError: there is no such delivery, or its request isn't kept any more.
            ConflictError: its request was never kept.
            BrokerError: the broker doesn't store or can't be read; repeating it is safe.
        """
        if NAME.fullmatch(wanted):
            request = await self.reverification.find(None, wanted)
        else:
            entry = await self.deliveries.find(wanted)
            source, name = _kept(entry)
            request = await self.reverification.find(source, name)
        if request is None:
            raise NotFoundError(
                f"the request of {wanted} isn't kept any more",
                hint="it was let in already, or its time is over",
            )
        return await self.reverification.one(request, dry=dry)

    async def of(self, entry: Entry) -> KeptRequest | None:
        """Return the request of a delivery, None where it isn't kept.

        Raises:
            BrokerError: it can't be looked up.
        """
        try:
            source, name = _kept(entry)
            return await self.reverification.find(source, name)
        except (ConflictError, NotFoundError):
            return None


def _kept(entry: Entry) -> tuple[str, str]:
    """Return the source that a delivery's request is kept for, and its name there.

    Raises:
        ConflictError: it was never kept.
    """
    source, name = entry.facts.get("source"), entry.facts.get("kept")
    if not source or not name:
        raise ConflictError(
            f"the request of {entry.id} was never kept",
            hint="a source with keep_refused keeps what it refuses where a mended secret might let it in",
        )
    return str(source), str(name)
