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


async def on_http_error(_: Request, error: Exception) -> Response:
    """Answer what the router turns away: unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise TypeError(f"{error!r} is no HTTP error")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return problem_response(method_not_allowed((error.headers or {}).get("Allow", "")))
    kind = _KINDS.get(error.status_code) or HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = "There is nothing here." if error.status_code == HTTPStatus.NOT_FOUND else error.detail
    return problem_response(Problem(error.status_code, kind, detail))


async def on_product_error(request: Request, error: Exception) -> Response:
    """Answer an error that the product raised on purpose."""
    if not isinstance(error, TidemillError):
        raise TypeError(f"{error!r} is no error of the product")
    if isinstance(error, BrokerError):
        _log.warning("%s %s: %s", request.method, request.url.path, error)
    return problem_response(of_error(error))


async def on_unexpected_error(request: Request, error: Exception) -> Response:
    """Answer a defect: the log has its traceback, the client doesn't."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem_response(UNEXPECTED)


EXCEPTION_HANDLERS: Final[dict[type[Exception], ExceptionHandler]] = {
    HTTPException: on_http_error,
    TidemillError: on_product_error,
    Exception: on_unexpected_error,
}
