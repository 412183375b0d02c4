"""Logging in and out: with an API key, or at an identity provider.

Between the two halves of a login a cookie holds together who began it: its signed content is the secret of
the form, and of the way to the identity provider and back.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.attempts import Attempts
from gateway.access.claims import identity_from
from gateway.access.form import FIELD, NO_TOKEN, Form, read_form
from gateway.access.identity import identity_of, visit_of
from gateway.access.oidc import CALLBACK, Challenge
from gateway.access.paths import LOGIN as PATH
from gateway.access.paths import local_path
from gateway.problem import Problem, of_error
from tidemill.kernel.errors import NotAllowedError, ProviderError
from tidemill.kernel.services.audit import Change
from tidemill.kernel.settings.keys import find_key

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.access.guard import Access
    from gateway.access.identity import Identity
    from gateway.access.oidc import Oidc
    from gateway.dashboard.frame import Frame
    from tidemill.kernel.settings.control import ApiKey

_COOKIE: Final = "tidemill-login"
_PURPOSE: Final = "login"
_SECONDS: Final = 600.0
_SEE_OTHER: Final = 303
_log = logging.getLogger(__name__)


class Login:
    """The pages under `/login`, and `/logout`."""

    def __init__(self, frame: Frame, access: Access, oidc: Oidc | None) -> None:
        self._frame = frame
        self._access = access
        self._oidc = oidc
        self._attempts = Attempts()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PATH, self.ask, methods=["GET"]),
            Route(PATH, self.log_in, methods=["POST"]),
            Route(f"{PATH}/oidc", self.leave),
            Route(CALLBACK, self.come_back),
            Route("/logout", self.log_out, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """The form."""
        back = local_path(request.query_params.get("next", "/"))
        if visit_of(request) is not None:
            return RedirectResponse(back, _SEE_OTHER)
        return self._form(request, back)

    async def log_in(self, request: Request) -> Response:
        """Open a session with an API key."""
        form = await read_form(request)
        if isinstance(form, Problem):
            return self._frame.problem(request, form)
        if not self._is_ours(request, form):
            return self._frame.problem(request, NO_TOKEN)
        back = local_path(form.get("next", "/"))
        client = self._access.clients.address(request.scope)
        too_many = self._attempts.problem(client)
        if too_many is not None:
            return self._frame.problem(request, too_many)
        key = find_key(form.get("key").strip(), self._access.keys())
        if key is None:
            await self._failed_as("", client, "no such API key")
            return self._form(request, back, "This API key isn't known.", 401)
        return await self._welcome(request, identity_of(key), back, key)

    async def leave(self, request: Request) -> Response:
        """Go to the identity provider; what is needed to recognise who comes back goes along in a cookie."""
        too_many = self._attempts.problem(self._access.clients.address(request.scope))
        if self._oidc is None or too_many is not None:
            return self._frame.problem(request, too_many or _NO_PROVIDER)
        challenge = Challenge.new()
        try:
            response = RedirectResponse(await self._oidc.address(challenge), _SEE_OTHER)
        except ProviderError as error:
            return await self._failed(request, error)
        back = local_path(request.query_params.get("next", "/"))
        self._keep(response, {"back": back, **asdict(challenge)})
        return response

    async def come_back(self, request: Request) -> Response:
        """Open a session for whom the identity provider vouches for."""
        kept = self._kept(request)
        if self._oidc is None or kept is None or "verifier" not in kept:
            return self._frame.problem(request, _TOO_LATE)
        challenge = Challenge(kept["state"], kept["nonce"], kept["verifier"])
        try:
            claims = await self._oidc.claims(dict(request.query_params), challenge)
            identity = identity_from(claims, self._oidc.settings, "oidc")
        except (ProviderError, NotAllowedError) as error:
            return await self._failed(request, error)
        return await self._welcome(request, identity, kept["back"])

    async def log_out(self, request: Request) -> Response:
        """End the session, everywhere."""
        visit, sessions = visit_of(request), self._access.sessions
        response = RedirectResponse(PATH, _SEE_OTHER)
        if visit is not None and visit.session:
            session = sessions.read(request.scope["headers"])
            if session is not None:
                await sessions.revoked.end(session.id, session.until - sessions.now())
        sessions.drop(response)
        return response

    async def _welcome(
        self, request: Request, identity: Identity, back: str, key: ApiKey | None = None
    ) -> Response:
        change = Change(identity.name, identity.kind, "login", "", self._client(request))
        async with self._access.audit.change(change):
            _log.info("%s has logged in (%s)", identity.name, identity.kind)
        response = RedirectResponse(back, _SEE_OTHER)
        self._access.sessions.open(response, identity, key)
        self._access.sessions.drop(response, _COOKIE)
        return response

    def _form(self, request: Request, back: str, problem: str = "", status: int = 200) -> Response:
        secret = secrets.token_urlsafe(16)
        response = self._frame.page(
            request,
            "login.html",
            status,
            title="Log in",
            problem=problem,
            back=back,
            token=self._access.seal.csrf(f"{_PURPOSE}:{secret}"),
            keys=bool(self._access.keys()),
            provider=self._oidc.settings.name if self._oidc is not None else "",
            provider_url=f"{PATH}/oidc?{urlencode({'next': back})}",
        )
        self._keep(response, {"secret": secret})
        return response

    def _is_ours(self, request: Request, form: Form) -> bool:
        kept = self._kept(request)
        if kept is None or "secret" not in kept:
            return False
        expected = self._access.seal.csrf(f"{_PURPOSE}:{kept['secret']}")
        return hmac.compare_digest(form.get(FIELD).encode(), expected.encode())

    def _keep(self, response: Response, document: dict[str, Any]) -> None:
        sessions = self._access.sessions
        content = self._access.seal.sign(_PURPOSE, document | {"until": sessions.now() + _SECONDS})
        sessions.keep(response, _COOKIE, content, _SECONDS)

    def _kept(self, request: Request) -> dict[str, Any] | None:
        sessions = self._access.sessions
        text = sessions.value(request.scope["headers"], _COOKIE)
        found: dict[str, Any] | None = self._access.seal.read(_PURPOSE, text)
        return found if found is not None and found["until"] > sessions.now() else None

    def _client(self, request: Request) -> str:
        return self._access.clients.address(request.scope)

    async def _failed_as(self, who: str, client: str, reason: str) -> None:
        """Put a login that failed on record; there are as many as the limit lets through."""
        _log.warning("a login from %s failed: %s", client, reason)
        audit = self._access.audit
        await audit.end(await audit.begin(Change(who, "unknown", "login", "", client)), reason)

    async def _failed(self, request: Request, error: ProviderError | NotAllowedError) -> Response:
        await self._failed_as("", self._client(request), error.sentence)
        return self._frame.page(
            request, "problem.html", of_error(error).status, title="The login failed", problem=of_error(error)
        )


_NO_PROVIDER: Final = Problem(404, "not-found", "There is no identity provider.", "Log in with an API key.")
_TOO_LATE: Final = Problem(
    400, "login", "This login has ended, or was begun in another browser.", "Log in again."
)
