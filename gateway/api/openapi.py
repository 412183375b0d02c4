"""The two OpenAPI 3.1 documents: what is public, and what is not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from gateway.api import run_query, shapes
from gateway.events.attributes import REQUIRED

Schema = dict[str, Any]

_RAW: Final[Schema] = {"application/octet-stream": {}}
_STREAM: Final[Schema] = {"text/event-stream": {}}
_LISTING: Final = ("limit", "before")
_HEADERS: Final[Schema] = {
    name: {"schema": {"type": "string"}} for name in ("Tidemill-Event-Id", "Tidemill-Status")
}
_HEALTH: Final[Schema] = {
    "/healthz": {
        "get": {"summary": "Does the process answer?", "responses": {"200": {"description": "yes"}}}
    },
    "/readyz": {
        "get": {
            "summary": "Can it do its work?",
            "responses": {"200": {"description": "yes"}, "503": {"description": "no; `problems` says why"}},
        }
    },
}


@cache
def public_document() -> Schema:
    """Return the document of the public listener."""
    post = {
        "summary": "Deliver a webhook",
        "description": "Signed as the source's provider signs. A 2xx means that the event is stored durably.",
        "requestBody": {"required": True, "content": {"*/*": {}}},
        "responses": {
            "202": {
                "description": "stored; a batch with a receipt for each event",
                "headers": _HEADERS,
                "content": _json({"oneOf": [shapes.RECEIPT, shapes.RECEIPTS]}),
            },
            "2XX": {"description": "stored, or a handshake: what the provider wants to hear"},
            **_problems(
                *("400", "401", "403", "404", "405", "408", "409"),
                *("413", "415", "422", "429", "431", "503"),
            ),
        },
    }
    paths = {
        "/webhooks/{source}": {"post": {**post, "parameters": [_in_path("source")]}},
        "/webhooks/{source}/{tenant}": {
            "post": {**post, "parameters": [_in_path("source"), _in_path("tenant")]}
        },
    }
    pages = {"/events": {"post": _publish()}, "/t/{signed}": _token_page()}
    document = _document("Tidemill gateway", paths | pages | _HEALTH)
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer"},
        "parameter": {"type": "apiKey", "in": "query", "name": "access_token"},
    }
    return document


def _token_page() -> Schema:
    """Return the operations of a token's page."""
    page: Schema = {"description": "a page", "content": {"text/html": {}}}
    answers = dict.fromkeys(("200", "404", "410", "503"), page)
    post = {
        "summary": "Answer a token or an approval",
        "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {}}},
        "responses": {**answers, **dict.fromkeys(("202", "400", "403", "409", "413", "422"), page)},
    }
    get = {"summary": "Show what a signed link asks for; that changes nothing", "responses": answers}
    parameters = [_in_path("signed")]
    return {"get": {**get, "parameters": parameters}, "post": {**post, "parameters": parameters}}


def _publish() -> Schema:
    """Return the operation of `POST /events`."""
    return {
        "summary": "Publish CloudEvents",
        "description": "Binary, structured or batched, by the Content-Type; the ce- headers are "
        "for events in binary mode. A 2xx means that all are stored.",
        "parameters": [
            {"name": f"ce-{name}", "in": "header", "schema": shapes.ANY_TEXT} for name in REQUIRED
        ],
        "security": [{"key": []}, {"parameter": []}],
        "requestBody": {
            "required": True,
            "content": {
                "application/cloudevents+json": {"schema": shapes.EVENT},
                "application/cloudevents-batch+json": {"schema": shapes.EVENTS},
                "*/*": {},
            },
        },
        "responses": {
            "202": {
                "description": "stored",
                "headers": _HEADERS,
                "content": _json({"oneOf": [shapes.RECEIPT, shapes.RECEIPTS]}),
            },
            **_problems("400", "401", "403", "405", "408", "413", "415", "429", "431", "503"),
        },
    }


@cache
def control_document() -> Schema:
    """Return the document of the control listener."""
    paths: Schema = {
        "/metrics": {
            "get": {"summary": "Metrics for Prometheus", "responses": {"200": {"description": "samples"}}}
        },
        "/api/v1/logins/{name}": {
            "delete": _operation("End all logins that somebody has in browsers", path=["name"])
        },
        "/api/v1/audit": {"get": _operation("List changes", query=["who", "action", "target", *_LISTING])},
        "/api/v1/dead": {"get": _operation("List dead letters", query=["task", *_LISTING])},
        "/api/v1/dead/{key}": {"get": _operation("Show a dead letter", path=["key"])},
        "/api/v1/destinations": {"get": _operation("List destinations")},
        "/api/v1/destinations/{name}/enable": {
            "post": _operation("Send to a destination again that was gone", path=["name"])
        },
        "/api/v1/dead/{key}/retry": {"post": _operation("Retry a dead letter's run", path=["key"])},
        "/api/v1/pulse": {"get": _operation("Show queues, stores, roles and workers")},
        "/api/v1/workers": {"get": _operation("List workers")},
        "/api/v1/sources/{source}/secret/reveal": {
            "post": _operation("Show the secret that a source has learned", path=["source"])
        },
        "/api/v1/sources/{source}/secret": {
            "delete": _operation("Forget the secret that a source has learned", path=["source"])
        },
        "/api/v1/dry-run": {
            "post": _operation("Say which tasks an event would start, and why not", body=shapes.DRY_RUN)
        },
        "/api/v1/sources/{source}/send": {
            "post": _operation(
                "Let in a sample, signed as its sender would sign it", path=["source"], body=shapes.REHEARSAL
            )
        },
        **_of_tenants(),
        **_of_alerts(),
        "/api/v1/tasks": {"get": _operation("List tasks")},
        "/api/v1/tasks/{task}": {
            "get": _operation("Show a task", path=["task"]),
            "delete": _operation("Forget a task that no worker serves", path=["task"]),
        },
        "/api/v1/tasks/{task}/trigger": {
            "post": _operation(
                "Start a run",
                path=["task"],
                body=shapes.TRIGGER,
                status="202",
                answer=shapes.RUN,
                header="Idempotency-Key",
            )
        },
    }
    document = _document("Tidemill control", paths | _of_events() | _of_runs() | _of_history() | _HEALTH)
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}, {}]
    return document


def _of_events() -> Schema:
    """Return the operations on events, on the requests that brought them, and on the quarantine."""
    return {
        "/api/v1/events": {"get": _operation("List events", query=["source", "type", *_LISTING])},
        "/api/v1/events/{id}": {"get": _operation("Show an event", path=["id"], query=["raw"])},
        "/api/v1/events/{id}/replay": {
            "post": _operation("Store an event again under a new id", path=["id"], status="202")
        },
        "/api/v1/records": {
            "get": _operation("List what was decided about events", query=["kind", "source", "limit"])
        },
        "/api/v1/deliveries": {
            "get": _operation(
                "List requests with what each came to",
                query=["source", "verdict", "reason", "since", "before", "limit"],
                schemas=shapes.OF_DELIVERIES,
            )
        },
        "/api/v1/deliveries/stream": {"get": _stream()},
        "/api/v1/deliveries/reverify": {
            "post": _operation("Verify refused requests that were kept again", body=shapes.REVERIFY)
        },
        "/api/v1/deliveries/{id}": {
            "get": _operation("Show a request with headers and body", path=["id"], query=["raw"])
        },
        "/api/v1/deliveries/{id}/replay": {
            "post": _operation("Store a delivery's events again", path=["id"], status="202")
        },
        "/api/v1/quarantine": {"get": _operation("List the quarantine", query=_LISTING)},
        "/api/v1/quarantine/{id}": {"get": _operation("Show an entry", path=["id"], query=["raw"])},
        "/api/v1/quarantine/{id}/release": {
            "post": _operation("Send an entry on", path=["id"], status="202")
        },
    }


def _of_tenants() -> Schema:
    """Return the operations on secrets of tenants."""
    tenant, secrets = "/api/v1/sources/{source}/tenants/{tenant}", ["source", "tenant"]
    return {
        "/api/v1/sources/{source}/tenants": {
            "get": _operation("List the tenants of a source", path=["source"], query=["after", "limit"])
        },
        tenant: {"delete": _operation("Take all secrets away from a tenant", path=secrets)},
        f"{tenant}/secrets": {
            "get": _operation("List a tenant's secrets, never what they are", path=secrets),
            "post": _operation("Give a tenant a secret", path=secrets, body=shapes.SECRET, status="201"),
        },
        f"{tenant}/secrets/rotate": {
            "post": _operation("Replace a tenant's secrets", path=secrets, body=shapes.ROTATION, status="201")
        },
        f"{tenant}/secrets/{{id}}": {
            "delete": _operation("Take a secret away from a tenant", path=[*secrets, "id"])
        },
        "/api/v1/secrets/rewrap": {"post": _operation("Encrypt all secrets anew with the first key")},
    }


def _of_alerts() -> Schema:
    """Return the operations on alerts."""
    return {
        "/api/v1/alerts": {"get": _operation("Show rules, channels, alerts, what was sent, and silences")},
        "/api/v1/alerts/silences": {
            "post": _operation("Silence alerts for a while", body=shapes.SILENCE, status="201")
        },
        "/api/v1/alerts/silences/{id}": {"delete": _operation("End a silence", path=["id"])},
        "/api/v1/alerts/channels/{channel}/test": {
            "post": _operation("Have the engine send a test to a channel", path=["channel"])
        },
    }


def _stream() -> Schema:
    """Return the operation of the feed."""
    operation = _operation(
        "Follow the deliveries of a source, a line of JSON each",
        query=["source", "type", "since", "after"],
        schemas=shapes.OF_THE_FEED,
    )
    lines: Schema = {"application/x-ndjson": {"schema": {"type": "string"}}}
    answers = {"200": {"description": "lines", "content": lines}, **_problems("429")}
    return operation | {"responses": operation["responses"] | answers}


def _of_runs() -> Schema:
    """Return the operations on runs and on what they wait for."""
    return {
        "/api/v1/runs": {"get": _operation("List runs", query=["task", "status", "limit"])},
        "/api/v1/runs/{run}": {"get": _operation("Show a run", path=["run"], answer=shapes.RUN)},
        "/api/v1/runs/{run}/logs": {
            "get": _operation(
                "Show what a run has logged, or with `follow` an event stream of it",
                path=["run"],
                query=["after", "limit", "follow"],
                schemas=shapes.OF_LOGS,
            )
        },
        "/api/v1/runs/{run}/cancel": {"post": _operation("Cancel a run", path=["run"], body=shapes.REASON)},
        "/api/v1/runs/{run}/retry": {
            "post": _operation("Let a failed run go on", path=["run"], body=shapes.REASON)
        },
        "/api/v1/runs/{run}/replay": {
            "post": _operation(
                "Start a new run with a run's input, or with another one",
                path=["run"],
                body=shapes.REPLAY,
                status="202",
                answer=shapes.RUN,
            )
        },
        "/api/v1/runs/{run}/signals/{name}": {
            "post": _operation(
                "Send a run a signal",
                path=["run", "name"],
                body=shapes.SIGNAL,
                status="202",
                header="Idempotency-Key",
            )
        },
        "/api/v1/bulk": {
            "post": _operation("Select the runs that fit a filter, to do something to all", body=shapes.BULK)
        },
        "/api/v1/bulk/{token}": {"get": _operation("Show how far a selection is", path=["token"])},
        "/api/v1/bulk/{token}/execute": {
            "post": _operation("Do it to all runs of a selection", path=["token"], status="202")
        },
        "/api/v1/tokens": {"get": _operation("List open tokens", query=["task", "run", "limit"])},
        "/api/v1/tokens/{id}": {"get": _operation("Show a token with its answers", path=["id"])},
        "/api/v1/tokens/{id}/complete": {
            "post": _operation(
                "Answer a token or an approval", path=["id"], body=shapes.DECISION, header="Idempotency-Key"
            )
        },
    }


def _of_history() -> Schema:
    """Return the operations on what has happened, and the events that tell of changes."""
    runs, errors = "/api/v1/history/runs", "/api/v1/history/errors"
    listing = [*run_query.NAMES, "cursor", "limit"]
    live = _operation("Hear of changes", query=["streams", "run", "seconds"], schemas=shapes.OF_HISTORY)
    live["responses"]["200"]["content"] = {"text/event-stream": {}}
    return {
        runs: {"get": _operation("Search runs", query=listing, schemas=shapes.OF_HISTORY)},
        f"{runs}/{{run}}": {"get": _operation("Show what has happened to a run", path=["run"])},
        f"{runs}/{{run}}/lineage": {
            "get": _operation("Show requests, events and runs that belong to a run", path=["run"])
        },
        errors: {
            "get": _operation(
                "List groups of errors",
                query=["task", "state", "cursor", "limit"],
                schemas=shapes.OF_HISTORY,
            )
        },
        f"{errors}/{{fingerprint}}": {"get": _operation("Show a group of errors", path=["fingerprint"])},
        f"{errors}/{{fingerprint}}/mark": {
            "post": _operation("Resolve or ignore a group of errors", path=["fingerprint"], body=shapes.MARK)
        },
        "/api/v1/history/totals": {"get": _operation("Count runs by task and status", query=["task"])},
        "/api/v1/history/rates": {
            "get": _operation(
                "Count runs and requests by time",
                query=["span", "since", "until", "task", "source"],
                schemas=shapes.OF_HISTORY,
            )
        },
        "/api/v1/live": {"get": live},
    }


def _operation(  # noqa: PLR0913 - what an operation of OpenAPI consists of
    summary: str,
    *,
    path: list[str] | None = None,
    query: list[str] | tuple[str, ...] = (),
    schemas: Mapping[str, Schema] = shapes.QUERY,
    header: str | None = None,
    body: Schema | None = None,
    status: str = "200",
    answer: Schema = shapes.OBJECT,
) -> Schema:
    parameters = [_in_path(name) for name in path or []]
    parameters += [
        {"name": name, "in": "query", "schema": schemas.get(name, shapes.ANY_TEXT)} for name in query
    ]
    if header:
        parameters.append({"name": header, "in": "header", "schema": shapes.NAMED})
    operation: Schema = {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            status: {
                "description": "done",
                "content": _json(answer)
                | (_RAW if "raw" in query else {})
                | (_STREAM if "follow" in query else {}),
            },
            **_problems("401", "403", "404", "409", "410", "413", "422", "503"),
        },
    }
    if body is None:
        return operation
    needed = bool(body.keys() & {"required", "oneOf"})
    return operation | {"requestBody": {"required": needed, "content": _json(body)}}


def _document(title: str, paths: Schema) -> Schema:
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version("tidemill"), "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": {"Problem": shapes.PROBLEM}},
    }


def _in_path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _problems(*statuses: str) -> Schema:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": "a problem", "content": content} for status in statuses}
