"""Keeping requests that were refused for their signature, where their source wants that.

What may have been genuine under another secret is kept as it came, before its sender is answered: a secret
that was configured wrongly loses nothing then. Few requests of a source are kept at the same time, so that a
flood costs little more than it would without.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from gateway.judge import TENANT_UNKNOWN
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.services.kept import KeptRequests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.inbound import Inbound
    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.services.vault import Vault

_log = logging.getLogger(__name__)

MENDABLE: Final = frozenset({"signature_mismatch", "secret_missing", TENANT_UNKNOWN})
"""Checks that another secret may pass. A stale timestamp isn't one: it was stale when it came."""
AT_ONCE: Final = 8
TIMEOUT: Final = 1.2


class Keeper:
    """Keeps refused requests.

    Args:
        bus: the connection.
        sizes: bytes that each source may keep, by name; those that aren't named keep nothing.
        vault: encrypts what is kept, where the settings name a key.
    """

    def __init__(self, bus: Bus, sizes: Mapping[str, int], vault: Vault) -> None:
        self._requests = KeptRequests(bus, vault)
        self._sizes = sizes
        self._busy: dict[str, int] = defaultdict(int)

    async def keep(
        self, inbound: Inbound, source: str, tenant: str | None, check: str, client: str
    ) -> str | None:
        """Keep a refused request; return what it is called, None where it isn't kept."""
        most = self._sizes.get(source)
        if most is None or check not in MENDABLE or self._busy[source] >= AT_ONCE:
            return None
        facts = {
            "at": inbound.received_at,
            "method": inbound.method,
            "path": inbound.path,
            "query": inbound.query,
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in inbound.headers],
            "tenant": tenant,
            "client": client,
            "check": check,
        }
        self._busy[source] += 1
        try:
            return await self._requests.keep(source, facts, inbound.body, most=most, timeout=TIMEOUT)
        except BrokerError as error:
            _log.warning("a refused request to %s isn't kept: %s", source, error.sentence)
            return None
        finally:
            self._busy[source] -= 1
