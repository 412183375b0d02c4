"""Light or dark: the system's choice, unless somebody makes another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.form import form_of
from gateway.access.paths import local_path
from gateway.dashboard.frame import THEME_COOKIE, THEMES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_YEAR = 365 * 86400


@dataclass(frozen=True, slots=True)
class Theme:
    """The form in every page's head."""

    https: bool

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/theme", self.choose_theme, methods=["POST"])]

    async def choose_theme(self, request: Request) -> Response:
        """Keep the choice in a cookie, and go back to the page."""
        form = form_of(request)
        response = RedirectResponse(local_path(form.get("back", "/")), 303)
        theme = form.get("theme")
        if theme in THEMES:
            response.set_cookie(
                THEME_COOKIE, theme, max_age=_YEAR, samesite="lax", httponly=True, secure=self.https
            )
        return response
