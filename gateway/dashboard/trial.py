"""The test page: lets in a sample as its sender would send it, or starts a run of a task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import orjson
from starlette.responses import RedirectResponse
from starlette.routing import Route

from gateway.access.form import form_of
from gateway.api.rehearsal import rehearse
from gateway.api.run_query import text_of
from gateway.dashboard.part import Part, part
from gateway.dashboard.shown import show_value
from gateway.pages.form import PREFIX, WHOLE, asks_for_nothing, fields_of, read_data
from gateway.problem import of_error
from gateway.receipt import ACCEPTED, DUPLICATE, MIXED, QUARANTINED
from gateway.rehearsal import Order
from tidemill.kernel.errors import NotFoundError, PayloadError, TidemillError
from tidemill.kernel.trigger import parse_request

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.access.form import Form
    from gateway.dashboard.services import Services
    from gateway.rehearsal import Rehearsed
    from tidemill.history.rows import EventDetail
    from tidemill.kernel.definition import TaskDefinition

PATH: Final = "/test"
_SEE_OTHER: Final = 303
_STREAMS: Final = "/live?streams=EVENTS,RECORDS,QUARANTINE,JOURNAL"
_STATUSES: Final = (ACCEPTED, DUPLICATE, QUARANTINED, MIXED)


@dataclass(frozen=True, slots=True)
class Sending:
    """The form that sends a sample, as it is filled in: `given` are its fields, `problem` what is wrong."""

    source: str
    types: list[str]
    tenants: bool
    given: dict[str, str]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Starting:
    """The form that starts a run: `fields` are its inputs, None where the payload is written as JSON."""

    task: TaskDefinition
    fields: Any
    nothing: bool
    schema: Any
    given: dict[str, str]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """Pages under `/test`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(PATH, self.show),
            Route("/test/send", self.send, methods=["POST"]),
            Route("/test/trigger", self.trigger, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """What can be sent and started; with an event, what came of it."""
        parameters = request.query_params
        source, event_type = text_of(parameters, "source"), text_of(parameters, "type")
        task, event = text_of(parameters, "task"), text_of(parameters, "event")
        sending = self._sending(
            source, {"type": event_type or "", "document": self._sample(source, event_type)}
        )
        starting = await self._starting(task, {}, as_json="json" in parameters) if task else None
        status = parameters.get("status", "")
        return await self._page(request, sending, starting, event=event, came=status)

    async def send(self, request: Request) -> Response:
        """Send what the form says; lead to what came of it, or show what its sender would be answered."""
        form = form_of(request)
        given = {name: form.get(name) for name in ("type", "document", "id", "tenant", "tamper")}
        source = form.get("source")
        try:
            sent = await rehearse(self.services.reception.rehearsals, request, _order(source, given))
        except TidemillError as error:
            problem = of_error(error)
            told = f"{error.sentence}. {error.hint}" if error.hint else error.sentence
            sending = self._sending(source, given, told)
            return await self._page(request, sending, None, http_status=problem.status)
        if sent.event and sent.status in _STATUSES:
            facts = {"source": source, "type": given["type"], "event": sent.event, "status": sent.status}
            return RedirectResponse(f"{PATH}?{urlencode(facts)}#came", _SEE_OTHER)
        return await self._page(request, self._sending(source, given), None, sent=sent)

    async def trigger(self, request: Request) -> Response:
        """Start a run with what the form says."""
        form = form_of(request)
        starting = await self._starting(form.get("task"), _values(form), as_json=bool(form.get("json")))
        try:
            schema = (
                None if starting.fields is None and not starting.nothing else starting.task.payload_schema
            )
            payload = orjson.dumps(read_data(schema, starting.given))
            options = {"idempotency_key": key} if (key := form.get("key").strip()) else {}
            view = await self.services.runs.trigger(parse_request(starting.task.id, payload, options))
        except (PayloadError, TypeError) as error:
            told = (
                error.sentence if isinstance(error, PayloadError) else "the payload can't be written as JSON"
            )
            as_json = bool(form.get("json"))
            starting = await self._starting(starting.task.id, starting.given, as_json=as_json, problem=told)
            return await self._page(request, self._sending(None, {}), starting, http_status=422)
        return RedirectResponse(f"/runs/{view.id}?said=trigger", _SEE_OTHER)

    def _sending(self, source: str | None, given: dict[str, str], problem: str = "") -> Sending | None:
        """Return the form of a source, by default of the only one.

        Raises:
            NotFoundError: there is no such source.
        """
        rehearsals = self.services.reception.rehearsals
        if not source and len(rehearsals.sources) == 1:
            source = rehearsals.sources[0]
        if not source:
            return None
        return Sending(source, rehearsals.types(source), rehearsals.tenants(source), given, problem)

    def _sample(self, source: str | None, event_type: str | None) -> str:
        if not source or not event_type:
            return ""
        try:
            document = self.services.reception.rehearsals.sample(source, event_type)
        except NotFoundError:
            return ""
        return json.dumps(document, indent=2, ensure_ascii=False)

    async def _starting(
        self, task: str, given: dict[str, str], *, as_json: bool, problem: str = ""
    ) -> Starting:
        """Return the form of a task.

        Raises:
            NotFoundError: there is no such task.
            BrokerError: the tasks can't be read.
        """
        definitions = self.services.definitions
        await definitions.refresh()
        definition = definitions.find(task)
        schema = definition.payload_schema if definition.takes != "event" else None
        nothing = definition.takes == "none" or asks_for_nothing(schema)
        fields = None if as_json or nothing else fields_of(schema)
        shown = show_value(definition.payload_schema, 8_000)
        return Starting(definition, fields, nothing, shown, given, problem)

    async def _page(  # noqa: PLR0913 - what the page shows, each by name
        self,
        request: Request,
        sending: Sending | None,
        starting: Starting | None,
        *,
        event: str | None = None,
        came: str = "",
        sent: Rehearsed | None = None,
        http_status: int = 200,
    ) -> Response:
        services = self.services
        tasks = await part(services.definitions.refresh())
        found = await part(_or_none(services, event)) if event else Part(None)
        return services.frame.page(
            request,
            "trial.html",
            http_status,
            title="Test",
            active="test",
            live=_STREAMS if event else "",
            sources=services.reception.rehearsals.sources,
            tasks=sorted(definition.id for definition in services.definitions.active()),
            tasks_missing=tasks.missing,
            sending=sending,
            starting=starting,
            event=event or "",
            came=came if came in _STATUSES else "",
            found=found,
            sent=sent,
            answer=show_value(sent.answer) if sent is not None else None,
        )


async def _or_none(services: Services, event: str) -> EventDetail | None:
    try:
        return await services.history.event(event)
    except NotFoundError:
        return None


def _order(source: str, given: dict[str, str]) -> Order:
    """Return what a form wants to be sent; a text that is no JSON is sent as it is."""
    text, document, body = given["document"], None, None
    if text.strip():
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            body = text.encode("utf-8", "replace")
    return Order(
        source=source,
        type=given["type"].strip(),
        document=document,
        body=body,
        id=given["id"].strip() or None,
        tenant=given["tenant"].strip() or None,
        tamper=given["tamper"] == "on",
    )


def _values(form: Form) -> dict[str, str]:
    """Return what a form says of a payload."""
    return {
        name: form.get(name) for name in form.names() if name in (WHOLE, "key") or name.startswith(PREFIX)
    }
