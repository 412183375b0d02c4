"""A run's page: what it is doing and why, its waterfall, its input and result, its family."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.parameters import run_id
from gateway.dashboard.bodies import NAMES, find_body
from gateway.dashboard.family_graph import family_graph
from gateway.dashboard.log_lines import log_lines
from gateway.dashboard.part import part
from gateway.dashboard.run_story import find_story
from gateway.dashboard.shown import HIDDEN, clip, show_body, show_masked
from gateway.dashboard.timebars import MOST, SCALE, time_bars
from gateway.masking import HINT
from gateway.pages.form import asks_for_nothing, fields_of
from tidemill.kernel.errors import NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.dashboard.services import Services

_SAID: Final = {
    "cancel": "It was asked to end.",
    "retry": "It goes on from where it stopped.",
    "queued": "That is stored, and is done as soon as the mailman gets to it.",
    "replay": "This is the new run.",
    "fork": "This is the new run.",
    "trigger": "This is the new run.",
    "answer": "The answer has been kept.",
}
"""What a page says after something was done."""
_TRACE: Final = 12_000


@dataclass(frozen=True, slots=True)
class RunPage:
    """`GET /runs/{run}`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/runs/{run}", self.show_run),
            Route("/runs/{run}/{body}/raw", self.show_raw),
        ]

    async def show_run(self, request: Request) -> Response:
        """Everything about one run."""
        wanted = run_id(request)
        story, logs = await asyncio.gather(
            find_story(self.services, wanted), part(log_lines(self.services.logs, wanted))
        )
        run = story.detail.run
        mask = await self.services.reception.masks.of_run(request, run.task, run.source, run.type)
        detail = mask.detail(story.detail)
        return self.services.frame.page(
            request,
            "run.html",
            title=f"{run.task} {run.id[-6:]}",
            active="runs",
            live=f"/live?run={run.id}",
            said=_SAID.get(request.query_params.get("said", ""), ""),
            story=story,
            run=run,
            detail=detail,
            bars=time_bars(detail),
            scale=SCALE,
            left_out=max(0, len(detail.spans) - MOST),
            graph=family_graph(story.lineage, detail),
            payload=show_masked(story.detail.payload, mask),
            result=HIDDEN if mask.active and detail.result.size else show_body(detail.result),
            logs=logs,
            traceback=clip(detail.traceback[-_TRACE:], _TRACE),
            ended=run.ended_at is not None,
            tokens=[
                (token, fields_of(token.schema), asks_for_nothing(token.schema)) for token in story.tokens
            ],
        )

    async def show_raw(self, request: Request) -> Response:
        """The bytes of an input or a result, as a file, as far as they are kept."""
        run, which = run_id(request), request.path_params["body"]
        if which not in NAMES:
            raise HTTPException(404)
        body = await find_body(self.services, run, which)
        story = (await find_story(self.services, run)).detail.run
        mask = await self.services.reception.masks.of_run(request, story.task, story.source, story.type)
        if mask.active and which == "result":
            raise NotAllowedError(f"the result of {run} may hold what is secret in its input", hint=HINT)
        if body.data is None:
            raise NotFoundError(f"the {which} of {run} isn't kept any more")
        name = f"{run}-{which}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(mask.whole(body.data), headers=headers, media_type="application/octet-stream")
