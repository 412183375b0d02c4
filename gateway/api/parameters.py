"""Parameters and bodies of control requests, checked; what is wrong is named."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.exceptions import HTTPException

from gateway.body import Budget, Fault, declared_length, read_body
from gateway.strictjson import ambiguity
from tidemill.kernel.errors import NotFoundError, PayloadError
from tidemill.kernel.subjects import RUN_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

MAX_BODY: Final = 32 * 1024 * 1024
MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50
_MOST_DIGITS: Final = 20
MAX_SEQUENCE: Final = 2**53
MAX_TEXT: Final = 4096
_FAULTS: Final = {
    Fault.TOO_LARGE: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {MAX_BODY} bytes."),
    Fault.BUSY: (HTTPStatus.SERVICE_UNAVAILABLE, "Too many large requests at the same time."),
    Fault.GONE: (HTTPStatus.BAD_REQUEST, "The body didn't come to its end."),
}
_budget = Budget()


def limit_of(request: Request) -> int:
    """Return how many entries a listing may have.

    Raises:
        PayloadError: `limit` is no number from 1 to 200.
    """
    return number(request, "limit", DEFAULT_LIMIT, MAX_LIMIT) or DEFAULT_LIMIT


def before_of(request: Request) -> int | None:
    """Return the sequence before which a listing goes on.

    Raises:
        PayloadError: `before` is no sequence.
    """
    return number(request, "before", None, MAX_SEQUENCE)


def filters(request: Request, names: Sequence[str]) -> dict[str, str]:
    """Return the parameters that are filters of a list, as they were written; others aren't looked at."""
    given = request.query_params
    return {name: given[name] for name in names if name in given}


def number(request: Request, name: str, default: int | None, highest: int) -> int | None:
    """Return a parameter that is a whole number from 1.

    Raises:
        PayloadError: it is something else.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    found = digits(text, 1, highest)
    if found is None:
        raise PayloadError(f"{name}={text!r} can't be used", hint=f"write a whole number from 1 to {highest}")
    return found


def digits(text: str, lowest: int, highest: int) -> int | None:
    """Return a number that is written in ASCII digits, None for anything else or one out of bounds."""
    if not (text.isascii() and text.isdigit()):
        return None
    # Python reads no number of more than 4300 digits.
    counted = text.lstrip("0") or "0"
    found = int(counted[:_MOST_DIGITS])
    return found if len(counted) <= _MOST_DIGITS and lowest <= found <= highest else None


def whole_number(value: object) -> int | None:
    """Return a JSON number without a fraction, None for anything else: `5.0` is a whole number there too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        return None
    return int(value)


def run_id(request: Request) -> str:
    """Return the run id of a path.

    Raises:
        NotFoundError: it can't be one.
    """
    text: str = request.path_params["run"]
    if not RUN_ID.fullmatch(text):
        raise NotFoundError(f"there is no run {text!r}", hint="a run id is `run_` and 26 letters and digits")
    return text


async def json_object(request: Request) -> dict[str, Any]:
    """Return the JSON object that a request carries, empty where it has no body.

    Raises:
        HTTPException: the body is too large, cut short, or can be read in two ways.
        PayloadError: it is no JSON object.
    """
    length = declared_length(request.scope["headers"])
    body = await read_body(request.receive, length, MAX_BODY, _budget)
    if isinstance(body, Fault):
        raise HTTPException(*_FAULTS[body])
    try:
        document = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"the body is no JSON: {error}") from error
    if (reason := ambiguity(body or b"{}", document)) is not None:
        place = f" ({reason.path})" if reason.path else ""
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"{reason.detail}{place}")
    if not isinstance(document, dict):
        raise PayloadError("the body is no JSON object", hint="send {…}")
    return document


def only(document: dict[str, Any], *known: str) -> None:
    """Refuse members that nobody would look at.

    Raises:
        PayloadError: there is one.
    """
    for name in document:
        if name not in known:
            raise PayloadError(
                f"{name}: there is no such member", hint=f"there are {', '.join(known) or 'none'}"
            )


def text_of(document: dict[str, Any], name: str) -> str:
    """Return a member that is text, empty where it isn't there.

    Raises:
        PayloadError: it is something else, or too long.
    """
    value = document.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise PayloadError(f"{name}: it is no text", hint=f"send at most {MAX_TEXT} characters")
    return value
