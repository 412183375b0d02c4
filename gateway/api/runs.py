"""Control API: tasks and runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.api.parameters import json_object, limit_of, only, run_id, text_of
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services import registry
from tidemill.kernel.services.traces import traceparent
from tidemill.kernel.trigger import TriggerRequest, parse_request

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.masking import Mask, Masks
    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.services.registry import Definitions
    from tidemill.kernel.services.run_view import RunView
    from tidemill.kernel.services.runs import Runs
    from tidemill.kernel.signals import Kind

_ACCEPTED = 202


@dataclass(frozen=True, slots=True)
class RunsApi:
    """Endpoints under `/api/v1/tasks` and `/api/v1/runs`."""

    runs: Runs
    definitions: Definitions
    tasks: Bucket
    masks: Masks

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/v1/tasks", self.list_tasks),
            Route("/api/v1/tasks/{task}", self.one_task, methods=["GET", "DELETE"]),
            Route("/api/v1/tasks/{task}/trigger", self.trigger, methods=["POST"]),
            Route("/api/v1/runs", self.list_runs),
            Route("/api/v1/runs/{run}", self.show_run),
            Route("/api/v1/runs/{run}/cancel", self.cancel, methods=["POST"]),
            Route("/api/v1/runs/{run}/retry", self.retry, methods=["POST"]),
            Route("/api/v1/runs/{run}/replay", self.replay, methods=["POST"]),
        ]

    async def list_tasks(self, _: Request) -> Response:
        """All tasks that events and triggers can start."""
        await self.definitions.refresh()
        tasks = [definition.model_dump(mode="json") for definition in self.definitions.active()]
        return JSONResponse({"tasks": sorted(tasks, key=lambda task: str(task["id"]))})

    async def one_task(self, request: Request) -> Response:
        """One task's definition; DELETE forgets it."""
        await self.definitions.refresh()
        definition = self.definitions.find(request.path_params["task"])
        if request.method == "DELETE":
            await registry.remove(self.tasks, definition.id)
            return JSONResponse({"removed": definition.id})
        return JSONResponse(definition.model_dump(mode="json"))

    async def trigger(self, request: Request) -> Response:
        """Start a run."""
        document = await json_object(request)
        only(document, "payload", "options")
        payload = orjson.dumps(document.get("payload"))
        wanted = _wanted(request, payload, document.get("options"))
        wanted = replace(wanted, trace=traceparent(request.headers.get("traceparent")))
        view = await self.runs.trigger(wanted)
        return _started(view.id, view.status)

    async def list_runs(self, request: Request) -> Response:
        """The runs that changed last."""
        task, status = request.query_params.get("task"), request.query_params.get("status")
        found = await self.runs.list(task=task, status=status, limit=limit_of(request))
        told = [(await self._mask(request, view)).run(view.facts()) for view in found]
        return JSONResponse({"runs": told})

    async def show_run(self, request: Request) -> Response:
        """One run, with what happened to it."""
        view = await self.runs.explained(run_id(request))
        return JSONResponse((await self._mask(request, view)).run(view.details()))

    async def _mask(self, request: Request, view: RunView) -> Mask:
        created = view.state.created
        event = (created.event if created is not None else None) or {}
        return await self.masks.of_run(request, view.state.task, event.get("source"), event.get("type"))

    async def cancel(self, request: Request) -> Response:
        """Ask for a run's end."""
        return await self._signal(request, "cancel")

    async def retry(self, request: Request) -> Response:
        """Let a run that has failed go on from where it stopped."""
        return await self._signal(request, "retry")

    async def replay(self, request: Request) -> Response:
        """Start a new run with the input of an old one, or with another payload."""
        old, document = run_id(request), await json_object(request)
        only(document, "payload")
        payload = orjson.dumps(document["payload"]) if "payload" in document else None
        view = await self.runs.replay(old, payload)
        return _started(view.id, view.status, replayof=old)

    async def _signal(self, request: Request, kind: Kind) -> Response:
        run, document = run_id(request), await json_object(request)
        only(document, "reason")
        reason = text_of(document, "reason")
        answer = await self.runs.tell(run, kind, reason)
        return JSONResponse({"run_id": run, "answer": answer}, 200 if answer == "done" else _ACCEPTED)


def _wanted(request: Request, payload: bytes, options: object) -> TriggerRequest:
    """Return a trigger, checked; the header counts where both name an idempotency key.

    Raises:
        PayloadError: an option is unknown or can't be used.
    """
    if options is not None and not isinstance(options, dict):
        raise PayloadError("options is no JSON object", hint='send "options": {…}')
    given: dict[str, Any] = dict(options or {})
    key = request.headers.get("idempotency-key")
    if key is not None:
        given["idempotency_key"] = key
    return parse_request(request.path_params["task"], payload, given)


def _started(run: str, status: str, **more: str) -> Response:
    headers = {"Location": f"/api/v1/runs/{run}"}
    return JSONResponse({"run_id": run, "status": status, **more}, _ACCEPTED, headers)
