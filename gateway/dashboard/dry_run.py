"""The dry run: paste an event or pick a stored one, and see which tasks it would start, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from gateway.access.form import form_of
from gateway.api.dry_run import dry_run_seen
from gateway.api.run_query import text_of
from gateway.dashboard.part import part
from gateway.dashboard.shown import show_value
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.dry_run import STARTS, event_in

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/dry-run"
_RECENT: Final = 20
_EXAMPLE: Final = (
    '{\n  "type": "github.push",\n  "source": "github",\n  "data": {"ref": "refs/heads/main"}\n}'
)
_ORDER: Final = {STARTS: 0, "quarantined": 1, "filtered": 2}


@dataclass(frozen=True, slots=True)
class DryRunPages:
    """Pages under `/dry-run`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route(PATH, self.show), Route(PATH, self.judge, methods=["POST"])]

    async def show(self, request: Request) -> Response:
        """The form; with an event's id, what the tasks as they are now would make of it."""
        name = text_of(request.query_params, "event")
        if not name:
            return await self._page(request, _EXAMPLE)
        reception = self.services.reception
        known = reception.redaction.sources
        found = await dry_run_seen(self.services.dry_run, reception.masks, request, name, known)
        return await self._page(request, "", found=found, chosen=name)

    async def judge(self, request: Request) -> Response:
        """What they would make of an event that was pasted."""
        text = form_of(request).get("event")
        try:
            found = await self.services.dry_run.of_document(event_in(text))
        except PayloadError as error:
            return await self._page(request, text, problem=f"{error.sentence}. {error.hint}")
        return await self._page(request, text, found=found)

    async def _page(
        self,
        request: Request,
        text: str,
        *,
        found: dict[str, Any] | None = None,
        chosen: str = "",
        problem: str = "",
    ) -> Response:
        recent = await part(self.services.history.events(limit=_RECENT))
        verdicts = sorted(found["tasks"], key=_rank) if found is not None else []
        return self.services.frame.page(
            request,
            "dry_run.html",
            422 if problem else 200,
            title="Dry run",
            active="dry-run",
            text=text,
            problem=problem,
            chosen=chosen,
            recent=recent.content.rows if recent.content is not None else (),
            found=found,
            starts=STARTS,
            verdicts=[(verdict, show_value(verdict.get("value"))) for verdict in verdicts],
        )


def _rank(verdict: dict[str, Any]) -> tuple[int, str]:
    return _ORDER.get(verdict["verdict"], len(_ORDER)), verdict["task"]
