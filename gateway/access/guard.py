"""The door of the control listener: every request is somebody's, or is turned away here.

Who may be let in: whoever presents an API key, a login's cookie or a trusted proxy's signed header; where
none of these is set up, this machine alone. What they may do then is decided route by route.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.access.form import HEADER, NO_TOKEN
from gateway.access.identity import LOCAL, Identity, Visit, identity_of, welcome
from gateway.access.local import HINT, local_problem
from gateway.access.origin import SAFE_METHODS, origin_problem
from gateway.access.sessions import Session
from gateway.access.stay import Stay
from gateway.access.table import is_open
from gateway.health import PATHS as HEALTH
from gateway.problem import Problem, of_error
from tidemill.kernel.errors import SettingsError, TidemillError
from tidemill.kernel.settings.keys import find_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.access.proxy import Proxy
    from gateway.access.seal import Seal
    from gateway.access.sessions import Sessions
    from gateway.answer import Answer
    from gateway.clients import Clients
    from tidemill.kernel.services.audit import Audit
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
        sessions: logins of browsers.
        audit: the record of changes.
        proxy: who vouches for others with a signed header.
    """

    control: ControlSettings
    keys: Callable[[], Sequence[ApiKey]]
    seal: Seal
    clients: Clients
    sessions: Sessions
    audit: Audit
    proxy: Proxy | None = None

    @property
    def https(self) -> bool:
        """Whether browsers reach the listener with TLS."""
        return self.sessions.https


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
        found = await self._enter(scope)
        if isinstance(found, Problem):
            _log.warning("refused %s %s: %s", scope["method"], scope["path"], found.kind)
            await self._refuse(scope, found).send(send, receive)
        elif found is not None and found.id and scope["method"] in SAFE_METHODS:
            await Stay(self._access.sessions, scope, send).serve(self._app, receive)
        else:
            await self._app(scope, receive, send)

    async def _enter(self, scope: Scope) -> Session | Problem | None:
        """Note whose request it is, or say why it isn't served; what is open to all is nobody's."""
        try:
            await self._access.seal.ready()
            found = await self._identify(scope["headers"])
        except TidemillError as error:
            return of_error(error)
        if isinstance(found, Problem) and not (found.status == _UNKNOWN and is_open(scope["path"])):
            return found
        if scope["method"] not in SAFE_METHODS and not (isinstance(found, Session) and found.by_key):
            problem = self._page_problem(scope, found)
            if problem is not None:
                return problem
        if not isinstance(found, Session):
            return None
        welcome(scope, self._visit(scope, found))
        return found

    def _page_problem(self, scope: Scope, found: Session | Problem) -> Problem | None:
        """Say why a change isn't taken that a page may have sent without its user's will."""
        problem = origin_problem(scope["headers"], self._access.control.public_url)
        if problem is None and isinstance(found, Session) and found.id and scope["path"].startswith(API):
            given = dict(scope["headers"]).get(HEADER, b"")
            if not hmac.compare_digest(given, self._csrf(found).encode()):
                return NO_TOKEN
        return problem

    def _visit(self, scope: Scope, found: Session) -> Visit:
        return Visit(found.identity, self._access.clients.address(scope), self._csrf(found), found.id)

    def _csrf(self, found: Session) -> str:
        return self._access.seal.csrf(f"{found.identity.kind}:{found.identity.name}:{found.id}")

    async def _identify(self, headers: Sequence[tuple[bytes, bytes]]) -> Session | Problem:
        """Find out whose request it is; without an id it brings its own proof."""
        keys, proxy = self._access.keys(), self._access.proxy
        if not keys and proxy is None and self._access.control.oidc is None:
            if not self._access.control.listen.loopback:
                return Problem(403, "no-keys", "There is no login, and this isn't a loopback address.", HINT)
            return local_problem(headers) or Session(LOCAL)
        if any(name == b"authorization" for name, _ in headers):
            presented = key_identity(headers, keys)
            return presented if isinstance(presented, Problem) else Session(presented)
        vouched = await proxy.identify(headers) if proxy is not None else None
        if vouched is not None:
            return Session(vouched)
        return self._access.sessions.read(headers) or _unauthorised("There is no API key in the request.")


_UNKNOWN: Final = 401


def key_identity(headers: Iterable[tuple[bytes, bytes]], keys: Sequence[ApiKey]) -> Identity | Problem:
    """Return whose API key a request presents."""
    presented = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    if len(presented) != 1 or not presented[0].lower().startswith(_BEARER):
        return _unauthorised("There is no API key in the request.")
    key = find_key(presented[0][len(_BEARER) :].strip(), keys)
    return _unauthorised("The API key isn't known.") if key is None else identity_of(key)


def _unauthorised(detail: str) -> Problem:
    return Problem(401, "api-key", detail, _KEY_HINT, headers=((b"www-authenticate", b"Bearer"),))
