"""Who may post events: API keys and bearer tokens (OAuth 2.0), each for some sources and types.

Either comes as `Authorization: Bearer` or as the parameter `access_token` (RFC 6750; CloudEvents' web
hooks, 3.1 and 3.2). Where both come, or one comes twice, nothing is guessed.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl

from gateway.events.tokens import BearerTokens
from gateway.keys.token import compact
from gateway.keys.wanted import Wanted
from gateway.problem import Problem
from tidemill.kernel import clock
from tidemill.kernel.settings.keys import find_key
from tidemill.kernel.subjects import type_matches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.inbound import Inbound
    from tidemill.kernel.settings.events import EventKey, TokenIssuer, TokenScope

_BEARER: Final = "bearer "
_MAX_PARAMETERS: Final = 100
_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="tidemill"'),)
_SCOPE_CHALLENGE: Final = ((b"www-authenticate", b'Bearer realm="tidemill", error="insufficient_scope"'),)
_HINT: Final = "send `Authorization: Bearer tm_…`; `tidemill keys create` makes a key for [events] keys"


class Caller(NamedTuple):
    """Somebody who may post.

    Attributes:
        what: what they have shown.
        grants: what that allows: any one that fits is enough.
    """

    what: str
    grants: Sequence[EventKey | TokenScope]


class Callers:
    """Checks what requests show.

    Args:
        keys: returns the configured API keys at each request.
        issuers: returns who issues bearer tokens at each request.
        tokens: verifies these.
    """

    def __init__(
        self,
        keys: Callable[[], Sequence[EventKey]],
        issuers: Callable[[], Sequence[TokenIssuer]] = tuple,
        tokens: BearerTokens | None = None,
    ) -> None:
        self._keys = keys
        self._issuers = issuers
        self._tokens = tokens or BearerTokens()

    def identify(self, inbound: Inbound) -> Caller | Problem | Wanted:
        """Return who sends a request, why nobody does that counts, or which keys have to be fetched first."""
        presented = [_bearer(value) for value in inbound.values(b"authorization")]
        presented += _access_tokens(inbound.query)
        if len(presented) != 1 or not presented[0]:
            return _unauthorised("There is no API key or token in the request, or more than one.")
        token = compact(presented[0].encode("utf-8", "surrogatepass")) if self._issuers() else None
        if token is not None:
            granted = self._tokens.grants(token, self._issuers(), inbound.received_at)
            return granted if isinstance(granted, Problem | Wanted) else Caller("token", granted)
        now = clock.now()
        active = [key for key in self._keys() if key.until is None or now < key.until]
        found = find_key(presented[0], active)
        return Caller("API key", (found,)) if found else _unauthorised("The API key isn't known.")


def scope_problem(caller: Caller, source: str, event_type: str) -> Problem | None:
    """Say why somebody may not post an event, None where they may."""
    fitting = [one for one in caller.grants if any(fnmatchcase(source, pattern) for pattern in one.sources)]
    if not fitting:
        return _forbidden(caller, f"may not post for the source {source[:200]!r}")
    if not any(type_matches(pattern, event_type) for one in fitting for pattern in one.types):
        return _forbidden(caller, f"may not post events of the type {event_type[:200]!r}")
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


def _forbidden(caller: Caller, detail: str) -> Problem:
    where = "the key's sources and types in [events] keys" if caller.what == "API key" else "its scopes"
    return Problem(403, "scope", f"This {caller.what} {detail}.", f"widen {where}", headers=_SCOPE_CHALLENGE)
