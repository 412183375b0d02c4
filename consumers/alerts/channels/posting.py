"""Posting a message over HTTP, with the client and the guards of forwarding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consumers.alerts.budget import Outcome, Refused, Taken
from consumers.forwarding.client import Client, PrivateAddressError, UnreachableError
from consumers.forwarding.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

_MENDABLE: Final = frozenset({401, 403, 404})
"""What a receiver answers that knows the address or its secret no more: somebody may mend it in time."""


async def post(
    url: str, headers: Mapping[str, str], body: bytes, *, timeout: float, allow_private: bool
) -> Outcome:
    """Post once, on a connection of its own, and say what came of it.

    Raises:
        SettingsError: the address can't be read.
    """
    client = Client(url, timeout=timeout, connections=1, allow_private=allow_private)
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
