"""What is served where no login is set up: this machine alone.

That takes more than a loopback address, because a proxy on it would forward the world, and a web page could
resolve a name of its own to it (DNS rebinding). So forwarded requests, foreign Host and foreign Origin are
refused.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from gateway.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORWARDING: Final = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-original-forwarded-for",
        b"x-envoy-external-address",
        b"true-client-ip",
        b"fastly-client-ip",
    }
)
_FORWARDING_PREFIXES: Final = (b"x-forwarded", b"cf-connecting-")
_AUTHORITY: Final = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@/]+))(?::[0-9]{1,5})?")
HINT: Final = "create an API key (`tidemill keys create`) to let others than this machine in"


def local_problem(headers: Iterable[tuple[bytes, bytes]]) -> Problem | None:
    """Say why a request can't be taken for one of this machine, None where it can."""
    hosts: list[bytes] = []
    for name, value in headers:
        if name in _FORWARDING or name.startswith(_FORWARDING_PREFIXES):
            return _forbidden("forwarded", "Forwarded requests aren't served without a login.")
        if name == b"host":
            hosts.append(value)
        elif name == b"origin" and not is_local(value.partition(b"://")[2]):
            return _forbidden("foreign-origin", "Requests of other sites' pages aren't served.")
    if len(hosts) != 1 or not is_local(hosts[0]):
        return _forbidden(
            "foreign-host", "Without a login only requests to this machine's own name are served."
        )
    return None


def is_local(authority: bytes) -> bool:
    """Say whether `host[:port]` names this machine itself."""
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return False
    host = (parts[1] or parts[2]).decode("latin-1").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _forbidden(kind: str, detail: str) -> Problem:
    return Problem(403, kind, detail, HINT)
