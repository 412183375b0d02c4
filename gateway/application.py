"""What both listeners' applications have in common: every error is a problem document."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

from gateway.answer import problem_response
from gateway.problem import UNEXPECTED, Problem, method_not_allowed, of_error
from tidemill.kernel.errors import BrokerError, TidemillError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ExceptionHandler

_KINDS: Final = {413: "body-size", 503: "busy"}
_log = logging.getLogger(__name__)


def problem_of(request: Request, error: Exception) -> Problem:
    """Return what an error is for a client, and log what operators have to know of it."""
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, TidemillError):
        if isinstance(error, BrokerError):
            _log.warning("%s %s: %s", request.method, request.url.path, error)
        return of_error(error)
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return UNEXPECTED


def _of_http(error: HTTPException) -> Problem:
    """Return what the router turns away: unknown paths and methods."""
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return method_not_allowed((error.headers or {}).get("Allow", ""))
    kind = _KINDS.get(error.status_code) or HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = "There is nothing here." if error.status_code == HTTPStatus.NOT_FOUND else error.detail
    return Problem(error.status_code, kind, detail)


async def on_error(request: Request, error: Exception) -> Response:
    """Answer with a problem document; a defect's traceback stands in the log alone."""
    return problem_response(problem_of(request, error))


def handlers(handler: ExceptionHandler) -> dict[type[Exception], ExceptionHandler]:
    """Return what answers every kind of error."""
    return dict.fromkeys((HTTPException, TidemillError, Exception), handler)


EXCEPTION_HANDLERS: Final = handlers(on_error)
