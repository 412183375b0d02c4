"""A form that a page of the dashboard sent, after its token was checked."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from gateway.body import Budget, Fault, declared_length, read_body
from gateway.mediatype import FORM, media_type
from gateway.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

MAX_BODY: Final = 8 * 1024 * 1024
FIELD: Final = "csrf"
HEADER: Final = b"x-csrf-token"
_MOST_FIELDS: Final = 2000
_SCOPE: Final = "tidemill.form"
_FAULTS: Final = {
    Fault.TOO_LARGE: Problem(413, "body-size", f"The form is larger than {MAX_BODY} bytes."),
    Fault.BUSY: Problem(503, "busy", "Too many large requests at the same time."),
    Fault.GONE: Problem(400, "bad-request", "The form didn't come to its end."),
}
NO_TOKEN: Final = Problem(
    403,
    "csrf",
    "The form doesn't carry the token of your login.",
    "Nothing was changed. Go back, load the page again, and send it once more.",
)
_budget = Budget()


class Form:
    """The fields of a form; a name may stand in it several times."""

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        self._pairs = tuple((name, value.replace("\r\n", "\n")) for name, value in pairs)

    def get(self, name: str, default: str = "") -> str:
        """Return a field's first value."""
        return next((value for key, value in self._pairs if key == name), default)

    def names(self) -> list[str]:
        """Return the names of its fields."""
        return list(dict.fromkeys(name for name, _ in self._pairs))

    def all(self, name: str) -> list[str]:
        """Return all values of a field."""
        return [value for key, value in self._pairs if key == name]


def form_of(request: Request) -> Form:
    """Return the form that a request brought; empty where it brought none."""
    form: Form = request.scope.get(_SCOPE) or Form()
    return form


async def take_form(request: Request, csrf: str) -> Problem | None:
    """Read a request's form and check its token; `form_of` returns it from then on.

    Returns:
        What is wrong with it, None where it may be used.
    """
    form = await read_form(request)
    if isinstance(form, Problem):
        return form
    if not csrf or not hmac.compare_digest(form.get(FIELD).encode(), csrf.encode()):
        return NO_TOKEN
    request.scope[_SCOPE] = form
    return None


async def read_form(request: Request) -> Form | Problem:
    """Return the form that a request carries, or what is wrong with it."""
    declared = declared_length(request.scope["headers"])
    body = await read_body(request.receive, declared, MAX_BODY, _budget)
    if isinstance(body, Fault):
        return _FAULTS[body]
    kind = media_type(request.headers.get("content-type", "").encode("latin-1"))
    if body and kind.name != FORM:
        return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media-type", f"Only {FORM} is taken here.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        return Problem(HTTPStatus.BAD_REQUEST, "bad-request", f"The form can't be read: {error}.")
    return Form(pairs)
