"""What all pages have in common: the templates' environment, who looks at them, and their headers."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse

from gateway.access.form import FIELD
from gateway.access.identity import Right, visit_of
from gateway.access.origin import SAFE_METHODS
from gateway.access.paths import local_path, login_address
from gateway.answer import Answer
from gateway.dashboard.assets import Assets
from gateway.dashboard.figures import FILTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response
    from starlette.types import Scope

    from gateway.problem import Headers, Problem

TEMPLATES: Final = Path(__file__).parent / "templates"
THEMES: Final = ("auto", "light", "dark")
THEME_COOKIE: Final = "tidemill-theme"
_TITLES: Final = {
    400: "That can't be read",
    401: "Please log in",
    403: "You may not do this",
    404: "There is nothing here",
    409: "That doesn't work now",
    410: "That is over",
    413: "That is too large",
    422: "Something in it is wrong",
    429: "Too many requests",
    500: "Something went wrong here",
    503: "Not now",
}


class NavItem(NamedTuple):
    """A page of the navigation: its name for `active`, address, words, and the right that it takes."""

    name: str
    url: str
    label: str
    right: Right = Right.READ


NAVIGATION: Final = (
    NavItem("overview", "/", "Overview"),
    NavItem("runs", "/runs", "Runs"),
    NavItem("errors", "/errors", "Errors"),
    NavItem("approvals", "/approvals", "Approvals"),
    NavItem("events", "/events", "Events"),
    NavItem("deliveries", "/deliveries", "Deliveries"),
    NavItem("quarantine", "/quarantine", "Quarantine"),
    NavItem("sources", "/sources", "Sources"),
    NavItem("schemas", "/schemas", "Schemas"),
    NavItem("tasks", "/tasks", "Tasks"),
    NavItem("schedules", "/schedules", "Schedules"),
    NavItem("workers", "/workers", "Workers"),
    NavItem("dead", "/dead", "Dead letters"),
    NavItem("test", "/test", "Test"),
    NavItem("dry-run", "/dry-run", "Dry run"),
    NavItem("alerts", "/alerts", "Alerts"),
    NavItem("audit", "/audit", "Audit", Right.ADMINISTER),
)
"""The pages that can be reached from everywhere, in their order."""


@cache
def _templates() -> Environment:
    """Return the templates, each of which is compiled once in a process."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment


class Frame:
    """Renders pages. Everything that comes from elsewhere is escaped by the templates' environment.

    Args:
        assets: the files that pages load.
        navigation: the pages that can be reached from everywhere.
        logins: whether there is a login page to lead strangers to.
    """

    def __init__(
        self, assets: Assets, navigation: Sequence[NavItem] = NAVIGATION, *, logins: bool = True
    ) -> None:
        self._logins = logins
        self._shared: dict[str, Any] = {"asset": assets.url, "navigation": navigation, "themes": THEMES}

    def page(self, request: HTTPConnection, template: str, status: int = 200, **context: Any) -> Response:
        """Return a page.

        Args:
            request: who looks at it and in which theme; `form_of(request)` is what they sent.
            template: the file's name in templates/.
            status: the HTTP status.
            context: what the template shows; `active` names the page of the navigation, `live` the events
                that tell it to look again, `title` is required.
        """
        return HTMLResponse(self.text(request, template, **context), status)

    def text(self, request: HTTPConnection, template: str, **context: Any) -> str:
        """Return a page's text."""
        visit = visit_of(request)
        theme = request.cookies.get(THEME_COOKIE, "auto")
        common: dict[str, Any] = {
            "active": "",
            "live": "",
            "visit": visit,
            "user": visit.identity if visit is not None else None,
            "theme": theme if theme in THEMES else "auto",
            "path": _address_of(request),
            "can": lambda right: visit is not None and visit.identity.may(Right(right)),
            "csrf_field": lambda: _csrf_field(visit.csrf if visit is not None else ""),
        }
        return _templates().get_template(template).render(self._shared | common | context)

    def problem(self, request: HTTPConnection, problem: Problem) -> Response:
        """Return the page of a problem."""
        headers = {name.decode(): value.decode() for name, value in problem.headers}
        return HTMLResponse(self._told(request, problem), problem.status, headers)

    def refusal(self, scope: Scope, problem: Problem) -> Answer:
        """Return the answer to a request whose body wasn't read: a page for a browser, else JSON."""
        request = HTTPConnection(scope)
        if not wants_page(request):
            return Answer.problem(problem, unread=True)
        if problem.status == HTTPStatus.UNAUTHORIZED and self._logins:
            return self._towards_login(request)
        return _html(problem.status, self._told(request, problem), problem.headers)

    def _towards_login(self, request: HTTPConnection) -> Answer:
        """Lead a stranger to the login, and from there back; what a form brought isn't looked at."""
        if request.scope["method"] in SAFE_METHODS:
            address = login_address(_address_of(request))
            return Answer(303, b"", b"", ((b"location", address.encode()),), unread=True)
        address = login_address(_page_before(request))
        text = self.text(request, "login_ended.html", title="Your login has ended", address=address)
        return _html(HTTPStatus.UNAUTHORIZED, text)

    def _told(self, request: HTTPConnection, problem: Problem) -> str:
        title = _TITLES.get(problem.status) or HTTPStatus(problem.status).phrase
        return self.text(request, "problem.html", title=title, problem=problem)


def wants_page(request: HTTPConnection) -> bool:
    """Say whether whoever asks is a person with a browser, who can't read a problem document."""
    path: str = request.scope["path"]
    return not path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


def _address_of(request: HTTPConnection) -> str:
    """Return a page's own address, to come back to."""
    query = request.url.query
    return local_path(request.scope["path"] + (f"?{query}" if query else ""))


def _html(status: int, text: str, headers: Headers = ()) -> Answer:
    return Answer(status, b"text/html; charset=utf-8", text.encode(), headers, unread=True)


def _page_before(request: HTTPConnection) -> str:
    """Return the page that a form was sent from, as a path of ours."""
    parts = urlsplit(request.headers.get("referer", ""))
    if parts.netloc != request.headers.get("host"):
        return "/"
    return local_path(parts.path + (f"?{parts.query}" if parts.query else ""))


def _csrf_field(token: str) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, escape(token))
