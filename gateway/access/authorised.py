"""Routes that ask for a right before they do anything, and for a form's token before they change anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route

from gateway.access.form import take_form
from gateway.access.guard import API
from gateway.access.identity import Right, visit_of
from gateway.access.origin import SAFE_METHODS
from gateway.access.table import right_of
from gateway.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.answer import Answer

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        problem = await self._problem(request)
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await self.refuse(scope, problem).send(send, receive)

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


def authorise(routes: Sequence[Route], refuse: Callable[[Scope, Problem], Answer]) -> Sequence[Route]:
    """Put each route behind the right that the table says."""
    for route in routes:
        route.app = Authorised(route.app, route.path, refuse)
    return routes


def _missing(right: Right, name: str) -> Problem:
    return Problem(
        403,
        "role",
        f"{name} may not {_WORDS[right]}.",
        f"That takes the role {_ROLES[right]}" + ("." if right is Right.ADMINISTER else " or admin."),
    )
