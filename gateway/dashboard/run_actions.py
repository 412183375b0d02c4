"""What a run's page lets people do: cancel, retry, replay as it was or with another input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.form import form_of
from gateway.api.parameters import run_id
from gateway.dashboard.bodies import find_body
from gateway.dashboard.shown import editable
from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services
    from tidemill.kernel.signals import Kind

SEE_OTHER: Final = 303
_EDIT_LIMIT: Final = 1 << 20
_REASON_LIMIT: Final = 500


@dataclass(frozen=True, slots=True)
class RunActions:
    """Forms under `/runs/{run}`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/runs/{run}/cancel", self.cancel, methods=["POST"]),
            Route("/runs/{run}/retry", self.retry, methods=["POST"]),
            Route("/runs/{run}/replay", self.edit, methods=["GET"]),
            Route("/runs/{run}/replay", self.replay, methods=["POST"]),
        ]

    async def cancel(self, request: Request) -> Response:
        """Ask for its end."""
        return await self._signal(request, "cancel")

    async def retry(self, request: Request) -> Response:
        """Let it go on from where it stopped."""
        return await self._signal(request, "retry")

    async def edit(self, request: Request) -> Response:
        """The form that replays it with another input."""
        return await self._editor(request)

    async def replay(self, request: Request) -> Response:
        """Start a new run with its input, or with what stands in the editor."""
        run, form = run_id(request), form_of(request)
        if not form.get("edited"):
            view = await self.services.runs.replay(run)
        else:
            text = form.get("payload")
            try:
                view = await self.services.runs.replay(run, text.encode())
            except (PayloadError, UnicodeEncodeError) as error:
                return await self._editor(request, text, str(getattr(error, "sentence", error)))
        return RedirectResponse(f"/runs/{view.id}?said=replay", SEE_OTHER)

    async def _editor(self, request: Request, text: str | None = None, problem: str = "") -> Response:
        run = run_id(request)
        body = await find_body(self.services, run, "input")
        if text is None and body.size <= _EDIT_LIMIT:
            text = editable(body)
        return self.services.frame.page(
            request,
            "replay.html",
            422 if problem else 200,
            title="Replay with another input",
            active="runs",
            run_id=run,
            text=text,
            size=body.size,
            problem=problem,
        )

    async def _signal(self, request: Request, kind: Kind) -> Response:
        run = run_id(request)
        reason = form_of(request).get("reason").strip()[:_REASON_LIMIT]
        answer = await self.services.runs.tell(run, kind, reason)
        said = kind if answer == "done" else "queued"
        return RedirectResponse(f"/runs/{run}?said={said}", SEE_OTHER)
