"""The door of the control listener: every request is somebody's, or is turned away here.

Who may be let in: whoever presents an API key, a login's cookie or a trusted proxy's signed header; where
none of these is set up, this machine alone. What they may do then is decided route by route.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.access.identity import LOCAL, Identity, Visit, welcome
from gateway.access.local import HINT, local_problem
from gateway.access.origin import SAFE_METHODS, origin_problem
from gateway.access.table import is_open
from gateway.health import PATHS as HEALTH
from gateway.problem import Problem, of_error
from tidemill.kernel.errors import BrokerError, SettingsError
from tidemill.kernel.settings.keys import find_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.access.seal import Seal
    from gateway.answer import Answer
    from gateway.clients import Clients
    from tidemill.kernel.settings.control import ApiKey, ControlSettings

_log = logging.getLogger(__name__)

API: Final = "/api/"
_BEARER: Final = "bearer "
_KEY_HINT: Final = "send `Authorization: Bearer tm_…`; `tidemill keys create` makes a key"


def check_exposure(control: ControlSettings) -> None:
    """Refuse to open the control listener to a network without a login.

    Raises:
        SettingsError: it would be.
    """
    if not control.guarded and not control.listen.loopback:
        raise SettingsError(
            f"control.listen is {control.listen} without any login: anybody there could start runs",
            hint="add a key to control.keys (`tidemill keys create` prints one with its hash), "
            "set up control.oidc or control.proxy, or listen on 127.0.0.1",
        )


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the control listener.

    Attributes:
        control: the listener's settings.
        keys: the present API keys.
        seal: signs what browsers keep.
        clients: finds out which address a request comes from.
    """

    control: ControlSettings
    keys: Callable[[], Sequence[ApiKey]]
    seal: Seal
    clients: Clients

    @property
    def https(self) -> bool:
        """Whether browsers reach the listener with TLS."""
        return (self.control.public_url or "").startswith("https:")


class Guard:
    """Lets requests through to an application, or answers them itself; health checks always pass.

    `refuse` makes the answer to a request that is turned away.
    """

    def __init__(self, app: ASGIApp, access: Access, refuse: Callable[[Scope, Problem], Answer]) -> None:
        self._app = app
        self._access = access
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in HEALTH:
            await self._app(scope, receive, send)
            return
        problem = await self._enter(scope)
        if problem is None:
            await self._app(scope, receive, send)
        else:
            _log.warning("refused %s %s: %s", scope["method"], scope["path"], problem.kind)
            await self._refuse(scope, problem).send(send, receive)

    async def _enter(self, scope: Scope) -> Problem | None:
        """Note whose request it is, or say why it isn't served."""
        try:
            await self._access.seal.ready()
        except BrokerError as error:
            return of_error(error)
        found = self._identify(scope["headers"])
        if isinstance(found, Problem):
            return None if found.status == _UNKNOWN and is_open(scope["path"]) else found
        ambient = found.kind != "key"
        if ambient and scope["method"] not in SAFE_METHODS:
            problem = origin_problem(scope["headers"], self._access.control.public_url)
            if problem is not None:
                return problem
        csrf = self._access.seal.csrf(f"{found.kind}:{found.name}")
        welcome(scope, Visit(found, self._access.clients.address(scope), csrf))
        return None

    def _identify(self, headers: Sequence[tuple[bytes, bytes]]) -> Identity | Problem:
        keys = self._access.keys()
        if keys:
            return key_identity(headers, keys)
        if not self._access.control.listen.loopback:
            return Problem(403, "no-keys", "There are no API keys, and this isn't a loopback address.", HINT)
        return local_problem(headers) or LOCAL


_UNKNOWN: Final = 401


def key_identity(headers: Iterable[tuple[bytes, bytes]], keys: Sequence[ApiKey]) -> Identity | Problem:
    """Return whose API key a request presents."""
    presented = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    if len(presented) != 1 or not presented[0].lower().startswith(_BEARER):
        return _unauthorised("There is no API key in the request.")
    key = find_key(presented[0][len(_BEARER) :].strip(), keys)
    return _unauthorised("The API key isn't known.") if key is None else identity_of(key)


def identity_of(key: ApiKey) -> Identity:
    """Return who an API key's user is."""
    return Identity(key.name, "key", frozenset({key.role}), on_behalf=key.on_behalf)


def _unauthorised(detail: str) -> Problem:
    return Problem(401, "api-key", detail, _KEY_HINT, headers=((b"www-authenticate", b"Bearer"),))
