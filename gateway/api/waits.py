"""Control API: what runs wait for from outside, and bringing it to them: signals, tokens and approvals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.access.behalf import answers_as
from gateway.access.changes import note
from gateway.access.identity import visit_of
from gateway.api.parameters import json_object, limit_of, only, run_id
from tidemill.kernel.decision import parse_decision

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.masking import Masks
    from tidemill.kernel.services.run_signals import RunSignals
    from tidemill.kernel.services.tokens import Tokens

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class WaitsApi:
    """Endpoints under `/api/v1/tokens` and `/api/v1/runs/{run}/signals`."""

    signals: RunSignals
    tokens: Tokens
    masks: Masks

    def routes(self) -> list[Route]:
        """Return the routes; names of signals and tokens may be any text, slashes included."""
        return [
            Route("/api/v1/runs/{run}/signals/{name:path}", self.signal, methods=["POST"]),
            Route("/api/v1/tokens", self.list_tokens),
            Route("/api/v1/tokens/{id:path}/complete", self.complete, methods=["POST"]),
            Route("/api/v1/tokens/{id:path}", self.show_token),
        ]

    async def signal(self, request: Request) -> Response:
        """Send a run a signal; a 202 means that it is stored."""
        run, document = run_id(request), await json_object(request)
        only(document, "data")
        answer = await self.signals.send(
            run,
            request.path_params["name"],
            orjson.dumps(document.get("data")),
            request.headers.get("idempotency-key"),
        )
        return JSONResponse(answer, _ACCEPTED)

    async def list_tokens(self, request: Request) -> Response:
        """The tokens and approvals that are open, the newest first."""
        parameters = request.query_params
        found = await self.tokens.list(
            task=parameters.get("task"), run=parameters.get("run"), limit=limit_of(request)
        )
        return JSONResponse({"tokens": [view.summary() for view in found]})

    async def show_token(self, request: Request) -> Response:
        """One token, open or decided, with what was answered."""
        view = await self.tokens.find(request.path_params["id"])
        mask, details = self.masks.of_token(request, view), view.details()
        answers = [one | {"data": mask.value(one["data"])} for one in details["answers"]]
        return JSONResponse(details | {"answers": answers})

    async def complete(self, request: Request) -> Response:
        """Answer a token or an approval, in the name of whoever is logged in."""
        document, visit = await json_object(request), visit_of(request)
        if visit is not None:
            document["by"] = answers_as(visit.identity, document.get("by", ""))
            note(request, by=str(document["by"]))
        decision = parse_decision(document, request.headers.get("idempotency-key"))
        answer = await self.tokens.complete(request.path_params["id"], decision)
        return JSONResponse(answer, 200 if answer["answer"] == "done" else _ACCEPTED)
