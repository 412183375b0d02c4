"""Forking a run from its page: what is taken over is shown first, and nothing is started before that."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.changes import note
from gateway.access.form import form_of
from gateway.api.parameters import run_id
from tidemill.kernel.protocol.records import News, Spawned
from tidemill.kernel.services.forks import Forks

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services
    from tidemill.kernel.protocol.records import Taken

_SEE_OTHER: Final = 303
_MOST: Final = 200
"""Parts that a page names."""


@dataclass(frozen=True, slots=True)
class RunForks:
    """Pages under `/runs/{run}/fork`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/runs/{run}/fork", self.ask, methods=["GET"]),
            Route("/runs/{run}/fork", self.fork, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """What a fork would take over, and the button that starts it."""
        run, at = run_id(request), request.query_params.get("at") or None
        taken = (await Forks(self.services.runs).look(run, at)).taken
        parts = parts_of(taken)
        return self.services.frame.page(
            request,
            "fork.html",
            title="Fork from here",
            active="runs",
            run_id=run,
            at=at or "",
            key=secrets.token_urlsafe(16),
            parts=parts[:_MOST],
            more=max(0, len(parts) - _MOST),
        )

    async def fork(self, request: Request) -> Response:
        """Start it; a form that is sent twice starts one run."""
        run, form = run_id(request), form_of(request)
        at = form.get("at") or None
        view = await Forks(self.services.runs).fork(run, at, key=form.get("key") or None)
        note(request, at=at or "", fork=view.id)
        return RedirectResponse(f"/runs/{view.id}?said=fork", _SEE_OTHER)


def parts_of(taken: Taken) -> list[tuple[str, str]]:
    """Return what is taken over: each part's kind and name."""
    found = [("wait", wait.key) for wait in taken.waits]
    for part in taken.parts:
        if isinstance(part, News):
            found += [("news", f"{item.box} from {item.who}") for item in part.items]
        elif isinstance(part, Spawned):
            found.append(("children" if part.run else "children, those that have ended", part.key))
        else:
            found.append(("step", part.key))
    return found
