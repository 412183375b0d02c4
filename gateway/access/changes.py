"""What a request changes, in words for the record of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidemill.kernel.services.audit import Change

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.access.identity import Visit

_DETAIL: Final = "tidemill.audit"
_LEFT_OUT: Final = ("", "api", "v1")
_VERBS: Final = {"DELETE": ".delete", "PUT": ".put", "PATCH": ".patch"}
NOT_RECORDED: Final = frozenset({"/theme", "/dry-run", "/api/v1/dry-run", "/bulk", "/api/v1/bulk"})
"""What changes nothing but a browser's own cookie, or merely selects what may be changed."""


def change_of(request: Request, path: str, visit: Visit) -> Change:
    """Return what a request is about to do; `path` is its route's."""
    parameters = [str(value) for value in request.path_params.values()]
    return Change(
        who=visit.identity.name,
        how=visit.identity.kind,
        action=action_of(request.method, path),
        target="/".join(parameters),
        client=visit.client,
    )


def action_of(method: str, path: str) -> str:
    """Return a route's name: `runs.cancel` for `POST /api/v1/runs/{run}/cancel`."""
    words = [part for part in path.split("/") if part not in _LEFT_OUT and not part.startswith("{")]
    return ".".join(words) + _VERBS.get(method, "")


def note(request: Request, **facts: str) -> None:
    """Add to what is recorded of a request."""
    request.scope.setdefault(_DETAIL, {}).update(facts)


def noted(request: Request) -> dict[str, str]:
    """Return what was added to what is recorded of a request."""
    found: dict[str, str] = request.scope.get(_DETAIL) or {}
    return found
