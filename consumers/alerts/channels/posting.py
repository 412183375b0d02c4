"""Posting a message over HTTP, with the client and the guards of forwarding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consumers.alerts.budget import Outcome, Refused, Taken
from consumers.forwarding.client import Client, UnreachableError
from consumers.forwarding.verdict import Verdict
from tidemill.kernel.egress import DIRECT, Egress
from tidemill.kernel.services.outbound import PrivateAddressError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MENDABLE: Final = frozenset({401, 403, 404})
"""What a receiver answers that knows the address or its secret no more: somebody may mend it in time."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a channel is reached.

    Attributes:
        environ: where secrets are looked up, anew for each message.
        timeout: seconds that one try may take in all.
        egress: whether it is reached through a proxy.
    """

    environ: Mapping[str, str]
    timeout: float
    egress: Egress = DIRECT


async def post(
    url: str, headers: Mapping[str, str], body: bytes, way: Way, *, allow_private: bool
) -> Outcome:
    """Post once, on a connection of its own, and say what came of it.

    Raises:
        SettingsError: the address can't be read.
    """
    client = Client(url, timeout=way.timeout, connections=1, allow_private=allow_private, egress=way.egress)
    try:
        answer = await client.post(headers, body)
    except PrivateAddressError as error:
        return Refused(f"{error}; allow_private = true lets it", again=False)
    except UnreachableError as error:
        return Refused(str(error))
    finally:
        await client.close()
    if answer.verdict is Verdict.DONE:
        return Taken()
    again = answer.verdict is Verdict.AGAIN or answer.status in _MENDABLE
    return Refused(f"it {answer.sentence}", again=again, after=answer.retry_after or 0.0)
