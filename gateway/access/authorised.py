"""Routes that ask for a right before they do anything, and for a form's token before they change anything."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route

from gateway.access.changes import NOT_RECORDED, change_of, noted
from gateway.access.form import take_form
from gateway.access.guard import API
from gateway.access.identity import Right, visit_of
from gateway.access.origin import SAFE_METHODS
from gateway.access.table import right_of
from gateway.problem import Problem, of_error
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.services.audit import DONE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.access.identity import Visit
    from gateway.answer import Answer
    from tidemill.kernel.services.audit import Audit

_WORDS = {
    Right.READ: "look at this",
    Right.OPERATE: "change what runs",
    Right.APPROVE: "approve",
    Right.ADMINISTER: "administer",
}
_ROLES = {
    Right.READ: "viewer",
    Right.OPERATE: "operator",
    Right.APPROVE: "approver",
    Right.ADMINISTER: "admin",
}


@dataclass(frozen=True, slots=True)
class Authorised:
    """One route's application, behind its right."""

    app: ASGIApp
    path: str
    refuse: Callable[[Scope, Problem], Answer]
    audit: Audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        problem = await self._problem(request)
        if problem is not None:
            await self.refuse(scope, problem).send(send, receive)
        elif request.method in SAFE_METHODS or (visit := visit_of(request)) is None or self._is_trifle:
            await self.app(scope, receive, send)
        else:
            await self._change(request, visit, send)

    async def _change(self, request: Request, visit: Visit, send: Send) -> None:
        """Serve a request that changes something: not before it stands in the record of changes."""
        status = 0

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            entry = await self.audit.begin(change_of(request, self.path, visit))
        except BrokerError as error:
            await self.refuse(request.scope, of_error(error)).send(send, request.receive)
            return
        outcome = "it was cut short"
        try:
            await self.app(request.scope, request.receive, watching)
            outcome = _outcome(status)
        finally:
            await self.audit.end(entry, outcome, noted(request))

    @property
    def _is_trifle(self) -> bool:
        return self.path in NOT_RECORDED

    async def _problem(self, request: Request) -> Problem | None:
        right, visit = right_of(request.method, self.path), visit_of(request)
        if right is Right.OPEN:
            return None
        if visit is None:
            return Problem(401, "login", "This takes a login.")
        if not visit.identity.may(right):
            return _missing(right, visit.identity.name)
        if request.method in SAFE_METHODS or self.path.startswith(API):
            return None
        return await take_form(request, visit.csrf)


def authorise(
    routes: Sequence[Route], refuse: Callable[[Scope, Problem], Answer], audit: Audit
) -> Sequence[Route]:
    """Put each route behind the right that the table says, and what changes something on record."""
    for route in routes:
        route.app = Authorised(route.app, route.path, refuse, audit)
    return routes


def _outcome(status: int) -> str:
    """Return what came of a change, by the answer's status."""
    return DONE if status < HTTPStatus.BAD_REQUEST else f"{status} {HTTPStatus(status).phrase}"


def _missing(right: Right, name: str) -> Problem:
    return Problem(
        403,
        "role",
        f"{name} may not {_WORDS[right]}.",
        f"That takes the role {_ROLES[right]}" + ("." if right is Right.ADMINISTER else " or admin."),
    )
