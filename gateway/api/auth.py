"""Who may speak to the control listener.

With API keys: whoever presents one. Without: only this machine, which takes more than a loopback address,
because a proxy on it would forward the world, and a web page could resolve a name of its own to it (DNS
rebinding). So forwarded requests, foreign Host and foreign Origin are refused.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from typing import TYPE_CHECKING, Final

from gateway.answer import Answer
from gateway.health import PATHS as OPEN_PATHS
from gateway.problem import Problem
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.keys import find_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from tidemill.kernel.settings.sections import ApiKey, ControlSettings

_log = logging.getLogger(__name__)

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
_BEARER: Final = "bearer "
_READING: Final = frozenset({"GET", "HEAD"})
_KEY_HINT: Final = "send `Authorization: Bearer tm_…`; `tidemill keys create` makes a key"
_LOCAL_HINT: Final = "create an API key (`tidemill keys create`) to let others than this machine in"


def check_exposure(control: ControlSettings) -> None:
    """Refuse to open the control listener to a network without keys.

    Raises:
        SettingsError: it would be.
    """
    if not control.keys and not control.listen.loopback:
        raise SettingsError(
            f"control.listen is {control.listen} without control.keys: anybody there could start runs",
            hint="add a key (`tidemill keys create` prints one with its hash), or listen on 127.0.0.1",
        )


class Guard:
    """Lets requests through to an application, or answers them itself; health checks always pass."""

    def __init__(self, app: ASGIApp, keys: Callable[[], Sequence[ApiKey]], *, loopback: bool) -> None:
        self._app = app
        self._keys = keys
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        problem = None
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            problem = self._problem(scope["method"], scope["headers"])
        if problem is None:
            await self._app(scope, receive, send)
        else:
            _log.warning("refused %s %s: %s", scope["method"], scope["path"], problem.kind)
            await Answer.problem(problem, unread=True).send(send, receive)

    def _problem(self, method: str, headers: Sequence[tuple[bytes, bytes]]) -> Problem | None:
        keys = self._keys()
        if keys:
            return _key_problem(method, headers, keys)
        if not self._loopback:
            return _forbidden("no-keys", "There are no API keys, and this isn't a loopback address.")
        return _local_problem(headers)


def _key_problem(
    method: str, headers: Iterable[tuple[bytes, bytes]], keys: Sequence[ApiKey]
) -> Problem | None:
    presented = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    if len(presented) != 1 or not presented[0].lower().startswith(_BEARER):
        return _unauthorised("There is no API key in the request.")
    key = find_key(presented[0][len(_BEARER) :].strip(), keys)
    if key is None:
        return _unauthorised("The API key isn't known.")
    if key.role == "read" and method not in _READING:
        return _forbidden("role", "This API key may only read.", "use a key with the role admin")
    return None


def _local_problem(headers: Iterable[tuple[bytes, bytes]]) -> Problem | None:
    hosts: list[bytes] = []
    for name, value in headers:
        if name in _FORWARDING or name.startswith(_FORWARDING_PREFIXES):
            return _forbidden("forwarded", "Forwarded requests aren't served without API keys.")
        if name == b"host":
            hosts.append(value)
        elif name == b"origin" and not _is_local(value.partition(b"://")[2]):
            return _forbidden("foreign-origin", "Requests of other sites' pages aren't served.")
    if len(hosts) != 1 or not _is_local(hosts[0]):
        return _forbidden(
            "foreign-host", "Without API keys only requests to this machine's own name are served."
        )
    return None


def _is_local(authority: bytes) -> bool:
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


def _unauthorised(detail: str) -> Problem:
    return Problem(401, "api-key", detail, _KEY_HINT, headers=((b"www-authenticate", b"Bearer"),))


def _forbidden(kind: str, detail: str, hint: str = _LOCAL_HINT) -> Problem:
    return Problem(403, kind, detail, hint)
