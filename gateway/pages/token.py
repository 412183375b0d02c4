"""`/t/{signed}`: the page on which somebody answers. Looking at it changes nothing: only its POST does.

Mail scanners and link previews follow links; none of them sends the form.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from starlette.responses import HTMLResponse
from starlette.routing import Route

from gateway.body import Budget, Fault, declared_length, read_body
from gateway.mediatype import FORM, media_type
from gateway.pages import html
from gateway.pages.form import read_data
from gateway.problem import of_error
from tidemill.kernel.decision import parse_decision
from tidemill.kernel.errors import (
    ExpiredError,
    NotAllowedError,
    NotFoundError,
    PayloadError,
    TidemillError,
)
from tidemill.kernel.links import PATH, Link, read_link
from tidemill.kernel.services.link_key import find_key

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.services.token_view import TokenView
    from tidemill.kernel.services.tokens import Tokens

MAX_BODY: Final = 256 * 1024
_MOST_FIELDS: Final = 200
_HEADERS: Final = {
    "Content-Security-Policy": html.POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_NOWHERE: Final = "This link leads nowhere"
_FAULTS: Final = {Fault.TOO_LARGE: 413, Fault.BUSY: 503, Fault.GONE: 400}


class TokenPages:
    """The pages of tokens."""

    def __init__(self, tokens: Tokens, secrets: Bucket) -> None:
        self._tokens = tokens
        self._secrets = secrets
        self._key: bytes | None = None
        self._budget = Budget()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route(f"{PATH}{{signed}}", self.serve, methods=["GET", "POST"])]

    async def serve(self, request: Request) -> Response:
        """Show a token, or take the answer."""
        try:
            link = await self._link(request.path_params["signed"])
            view = await self._tokens.find(link.token)
        except TidemillError as error:
            return _nothing(error)
        if request.method == "POST":
            return await self._answer(request, link, view)
        if view.status != "open":
            return _page(200, html.told(view.name, _over(view), view=view))
        return _page(200, html.asking(view, link.by))

    async def _link(self, signed: str) -> Link:
        """Read a link.

        Raises:
            NotFoundError: it wasn't made here.
            ExpiredError: it leads nowhere any more.
        """
        if self._key is None:
            self._key = await find_key(self._secrets)
        link = read_link(self._key, signed) if self._key is not None else None
        if link is None:
            raise NotFoundError("It isn't one of ours, or not all of it is here.")
        if link.until < time.time():
            raise ExpiredError("It has ended.", hint="Ask whoever sent it for another one.")
        return link

    async def _answer(self, request: Request, link: Link, view: TokenView) -> Response:
        declared = declared_length(request.scope["headers"])
        body = await read_body(request.receive, declared, MAX_BODY, self._budget)
        if isinstance(body, Fault):
            return _page(
                _FAULTS[body], html.told("That didn't work", "The answer is too large, or incomplete.")
            )
        form: dict[str, str] = {}
        try:
            form = _form(request, body)
            approved = form.get("answer") == "yes"
            if form.get("answer") not in ("yes", "no"):
                raise PayloadError("the form says neither yes nor no")
            if view.approvers and not link.by:
                raise NotAllowedError(
                    "this link doesn't say who answers", hint="each approver needs a link of their own"
                )
            facts = {
                "by": link.by or form.get("by", ""),
                "approved": approved,
                "comment": form.get("comment", ""),
            }
            data = read_data(view.schema, form) if approved else None
            answer = await self._tokens.complete(link.token, parse_decision(facts | {"data": data}))
        except TidemillError as error:
            return _refused(error, link, view, form)
        done = answer["answer"] == "done"
        return _page(200 if done else 202, html.told("Thank you", "Your answer has been kept."))


def _refused(error: TidemillError, link: Link, view: TokenView, form: dict[str, str]) -> Response:
    """Say why an answer wasn't taken, and ask again where another one could be."""
    status = of_error(error).status
    if isinstance(error, PayloadError):
        return _page(status, html.asking(view, link.by, error.sentence, form))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _nothing(error)
    return _page(status, html.told("Your answer doesn't count", error.sentence, error.hint))


def _nothing(error: TidemillError) -> Response:
    status = of_error(error).status
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _page(status, html.told("Not now", "Please try again in a moment."))
    return _page(status, html.told(_NOWHERE, error.sentence, error.hint))


def _form(request: Request, body: bytes) -> dict[str, str]:
    kind = media_type(request.headers.get("content-type", "").encode())
    if kind.name != FORM:
        raise PayloadError("that is no form", hint=f"send {FORM}")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise PayloadError(f"the form can't be read: {error}") from error
    form: dict[str, str] = {}
    for name, value in pairs:
        if name in form:
            raise PayloadError(f"{name} stands twice in the form")
        form[name] = value.replace("\r\n", "\n")
    return form


def _over(view: TokenView) -> str:
    decided = view.deciding
    if decided is not None:
        return f"It is {view.status}, by {decided.who}."
    return "Nobody waits for an answer any more."


def _page(status: int, text: str) -> Response:
    return HTMLResponse(text, status, _HEADERS)
