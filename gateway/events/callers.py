"""Who may post events: API keys, each for some sources and types.

A key comes as `Authorization: Bearer` or as the parameter `access_token` (CloudEvents' web hooks, 3.1 and
3.2). Where both come, or one comes twice, nothing is guessed.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from gateway.problem import Problem
from tidemill.kernel import clock
from tidemill.kernel.settings.keys import find_key
from tidemill.kernel.subjects import type_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.inbound import Inbound
    from tidemill.kernel.settings.sections import EventKey

_BEARER: Final = "bearer "
_MAX_PARAMETERS: Final = 100
_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="tidemill"'),)
_HINT: Final = "send `Authorization: Bearer tm_…`; `tidemill keys create` makes a key for [events] keys"


class Callers:
    """Checks the keys of requests.

    Args:
        keys: returns the configured keys at each request.
    """

    def __init__(self, keys: Callable[[], Sequence[EventKey]]) -> None:
        self._keys = keys

    def identify(self, inbound: Inbound) -> EventKey | Problem:
        """Return the key of a request, or why it has none that counts."""
        presented = [_bearer(value) for value in inbound.values(b"authorization")]
        presented += _access_tokens(inbound.query)
        if len(presented) != 1 or not presented[0]:
            return _unauthorised("There is no API key in the request, or more than one.")
        now = clock.now()
        active = [key for key in self._keys() if key.until is None or now < key.until]
        return find_key(presented[0], active) or _unauthorised("The API key isn't known.")


def scope_problem(key: EventKey, source: str, event_type: str) -> Problem | None:
    """Say why a key may not post an event, None where it may."""
    if not any(fnmatchcase(source, pattern) for pattern in key.sources):
        return _forbidden(f"This API key may not post for the source {source[:200]!r}.")
    if not any(type_matches(pattern, event_type) for pattern in key.types):
        return _forbidden(f"This API key may not post events of the type {event_type[:200]!r}.")
    return None


def _bearer(value: bytes) -> str:
    text = value.decode("latin-1")
    return text[len(_BEARER) :].strip() if text.lower().startswith(_BEARER) else ""


def _access_tokens(query: str) -> list[str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        return []
    return [value for name, value in pairs if name == "access_token"]


def _unauthorised(detail: str) -> Problem:
    return Problem(401, "api-key", detail, _HINT, headers=_CHALLENGE)


def _forbidden(detail: str) -> Problem:
    return Problem(403, "scope", detail, "widen the key's sources and types in [events] keys")
