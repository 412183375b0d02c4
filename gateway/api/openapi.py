"""The two OpenAPI 3.1 documents: what is public, and what is not."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Final

from gateway.api import run_query, shapes
from gateway.api.openapi_runs import of_runs
from gateway.api.operation import Schema, in_path, json_content, operation, problems
from gateway.events.attributes import REQUIRED
from tidemill.kernel.services.dead_query import DeadQuery
from tidemill.kernel.services.quarantine_query import QuarantineQuery

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
                "content": json_content({"oneOf": [shapes.RECEIPT, shapes.RECEIPTS]}),
            },
            "2XX": {"description": "stored, or a handshake: what the provider wants to hear"},
            **problems(
                *("400", "401", "403", "404", "405", "408", "409"),
                *("413", "415", "422", "429", "431", "503"),
            ),
        },
    }
    paths = {
        "/webhooks/{source}": {"post": {**post, "parameters": [in_path("source")]}},
        "/webhooks/{source}/{tenant}": {
            "post": {**post, "parameters": [in_path("source"), in_path("tenant")]}
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
    parameters = [in_path("signed")]
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
                "content": json_content({"oneOf": [shapes.RECEIPT, shapes.RECEIPTS]}),
            },
            **problems("400", "401", "403", "405", "408", "413", "415", "429", "431", "503"),
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
            "delete": operation("End all logins that somebody has in browsers", path=["name"])
        },
        "/api/v1/audit": {"get": operation("List changes", query=["who", "action", "target", *_LISTING])},
        "/api/v1/dead": {
            "get": operation(
                "List dead letters", query=[*DeadQuery.NAMES, *_LISTING], schemas=shapes.OF_FILTERS
            )
        },
        "/api/v1/dead/{key}": {"get": operation("Show a dead letter", path=["key"])},
        "/api/v1/destinations": {"get": operation("List destinations")},
        "/api/v1/destinations/{name}/enable": {
            "post": operation("Send to a destination again that was gone", path=["name"])
        },
        "/api/v1/dead/{key}/retry": {"post": operation("Retry a dead letter's run", path=["key"])},
        "/api/v1/pulse": {"get": operation("Show queues, stores, roles and workers")},
        "/api/v1/workers": {"get": operation("List workers")},
        "/api/v1/sources/{source}/secret/reveal": {
            "post": operation("Show the secret that a source has learned", path=["source"])
        },
        "/api/v1/sources/{source}/secret": {
            "delete": operation("Forget the secret that a source has learned", path=["source"])
        },
        "/api/v1/dry-run": {
            "post": operation("Say which tasks an event would start, and why not", body=shapes.DRY_RUN)
        },
        **_of_sources(),
        **_of_tenants(),
        **_of_alerts(),
        **_of_schedules(),
        **_of_tasks(),
    }
    document = _document("Tidemill control", paths | _of_events() | of_runs() | _of_history() | _HEALTH)
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}, {}]
    return document


def _of_tasks() -> Schema:
    """Return the operations on tasks."""
    return {
        "/api/v1/tasks": {"get": operation("List tasks")},
        "/api/v1/tasks/{task}": {
            "get": operation("Show a task", path=["task"]),
            "delete": operation("Forget a task that no worker serves", path=["task"]),
        },
        "/api/v1/overrides": {"get": operation("List what operators have decided about tasks")},
        "/api/v1/tasks/{task}/pause": {
            "post": operation("Let none of a task's runs start or go on", path=["task"], body=shapes.REASON)
        },
        "/api/v1/tasks/{task}/resume": {"post": operation("Let a task's runs go on", path=["task"])},
        "/api/v1/tasks/{task}/limit": {
            "post": operation("Let so many runs of a task execute at once", path=["task"], body=shapes.LIMIT)
        },
        "/api/v1/tasks/{task}/trigger": {
            "post": operation(
                "Start a run",
                path=["task"],
                body=shapes.TRIGGER,
                status="202",
                answer=shapes.RUN,
                header="Idempotency-Key",
            )
        },
    }


def _of_events() -> Schema:
    """Return the operations on events, on the requests that brought them, and on the quarantine."""
    return {
        "/api/v1/events": {"get": operation("List events", query=["source", "type", *_LISTING])},
        "/api/v1/events/{id}": {"get": operation("Show an event", path=["id"], query=["raw"])},
        "/api/v1/events/{id}/replay": {
            "post": operation("Store an event again under a new id", path=["id"], status="202")
        },
        "/api/v1/records": {
            "get": operation("List what was decided about events", query=["kind", "source", "limit"])
        },
        "/api/v1/deliveries": {
            "get": operation(
                "List requests with what each came to",
                query=["source", "verdict", "reason", "since", "before", "limit"],
                schemas=shapes.OF_DELIVERIES,
            )
        },
        "/api/v1/deliveries/stream": {"get": _stream()},
        "/api/v1/deliveries/reverify": {
            "post": operation("Verify refused requests that were kept again", body=shapes.REVERIFY)
        },
        "/api/v1/deliveries/{id}/reverify": {
            "post": operation("Verify one refused request again", path=["id"], body=shapes.REVERIFY_ONE)
        },
        "/api/v1/deliveries/{id}": {
            "get": operation("Show a request with headers and body", path=["id"], query=["raw"])
        },
        "/api/v1/deliveries/{id}/replay": {
            "post": operation("Store a delivery's events again", path=["id"], status="202")
        },
        "/api/v1/quarantine": {
            "get": operation(
                "List the quarantine", query=[*QuarantineQuery.NAMES, *_LISTING], schemas=shapes.OF_FILTERS
            )
        },
        "/api/v1/quarantine/{id}": {"get": operation("Show an entry", path=["id"], query=["raw"])},
        "/api/v1/quarantine/{id}/release": {
            "post": operation("Send an entry on", path=["id"], body=shapes.RELEASE, status="202")
        },
        "/api/v1/quarantine/{id}/discard": {
            "post": operation("Take an entry out of quarantine for good", path=["id"])
        },
    }


def _of_schedules() -> Schema:
    """Return the operations on schedules."""
    one = "/api/v1/schedules/{schedule}"
    return {
        "/api/v1/schedules": {"get": operation("List schedules with their next ticks")},
        one: {"get": operation("Show a schedule", path=["schedule"])},
        f"{one}/pause": {"post": operation("Let no tick start a run", path=["schedule"])},
        f"{one}/resume": {"post": operation("Let ticks start runs again", path=["schedule"])},
        f"{one}/trigger": {
            "post": operation("Start a run of a schedule now", path=["schedule"], status="202")
        },
    }


def _of_tenants() -> Schema:
    """Return the operations on secrets of tenants."""
    tenant, secrets = "/api/v1/sources/{source}/tenants/{tenant}", ["source", "tenant"]
    return {
        "/api/v1/sources/{source}/tenants": {
            "get": operation("List the tenants of a source", path=["source"], query=["after", "limit"])
        },
        tenant: {"delete": operation("Take all secrets away from a tenant", path=secrets)},
        f"{tenant}/secrets": {
            "get": operation("List a tenant's secrets, never what they are", path=secrets),
            "post": operation("Give a tenant a secret", path=secrets, body=shapes.SECRET, status="201"),
        },
        f"{tenant}/secrets/rotate": {
            "post": operation("Replace a tenant's secrets", path=secrets, body=shapes.ROTATION, status="201")
        },
        f"{tenant}/secrets/{{id}}": {
            "delete": operation("Take a secret away from a tenant", path=[*secrets, "id"])
        },
        "/api/v1/secrets/rewrap": {"post": operation("Encrypt all secrets anew with the first key")},
    }


def _of_sources() -> Schema:
    """Return the operations on sources and on the schemas that hold their deliveries."""
    return {
        "/api/v1/schemas": {"get": operation("List the types that have schemas", query=["source"])},
        "/api/v1/schemas/{source}/{type}": {
            "get": operation("Show a schema and its drift", path=["source", "type"], query=["version"])
        },
        "/api/v1/sources": {"get": operation("List the configured sources, never their secrets")},
        "/api/v1/sources/{source}": {"get": operation("Show a source", path=["source"])},
        "/api/v1/sources/{source}/send": {
            "post": operation(
                "Let in a sample, signed as its sender would sign it", path=["source"], body=shapes.REHEARSAL
            )
        },
    }


def _of_alerts() -> Schema:
    """Return the operations on alerts."""
    return {
        "/api/v1/alerts": {"get": operation("Show rules, channels, alerts, what was sent, and silences")},
        "/api/v1/alerts/silences": {
            "post": operation("Silence alerts for a while", body=shapes.SILENCE, status="201")
        },
        "/api/v1/alerts/silences/{id}": {"delete": operation("End a silence", path=["id"])},
        "/api/v1/alerts/channels/{channel}/test": {
            "post": operation("Have the engine send a test to a channel", path=["channel"])
        },
    }


def _stream() -> Schema:
    """Return the operation of the feed."""
    following = operation(
        "Follow the deliveries of a source, a line of JSON each",
        query=["source", "type", "since", "after"],
        schemas=shapes.OF_THE_FEED,
    )
    lines: Schema = {"application/x-ndjson": {"schema": {"type": "string"}}}
    answers = {"200": {"description": "lines", "content": lines}, **problems("429")}
    return following | {"responses": following["responses"] | answers}


def _of_history() -> Schema:
    """Return the operations on what has happened, and the events that tell of changes."""
    runs, errors = "/api/v1/history/runs", "/api/v1/history/errors"
    listing = [*run_query.NAMES, "cursor", "limit"]
    live = operation("Hear of changes", query=["streams", "run", "seconds"], schemas=shapes.OF_HISTORY)
    live["responses"]["200"]["content"] = {"text/event-stream": {}}
    return {
        runs: {"get": operation("Search runs", query=listing, schemas=shapes.OF_HISTORY)},
        f"{runs}/{{run}}": {"get": operation("Show what has happened to a run", path=["run"])},
        f"{runs}/{{run}}/lineage": {
            "get": operation("Show requests, events and runs that belong to a run", path=["run"])
        },
        errors: {
            "get": operation(
                "List groups of errors",
                query=["task", "state", "cursor", "limit"],
                schemas=shapes.OF_HISTORY,
            )
        },
        f"{errors}/{{fingerprint}}": {"get": operation("Show a group of errors", path=["fingerprint"])},
        f"{errors}/{{fingerprint}}/mark": {
            "post": operation("Resolve or ignore a group of errors", path=["fingerprint"], body=shapes.MARK)
        },
        "/api/v1/history/totals": {"get": operation("Count runs by task and status", query=["task"])},
        "/api/v1/history/rates": {
            "get": operation(
                "Count runs and requests by time",
                query=["span", "since", "until", "task", "source"],
                schemas=shapes.OF_HISTORY,
            )
        },
        "/api/v1/live": {"get": live},
    }


def _document(title: str, paths: Schema) -> Schema:
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version("tidemill"), "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": {"Problem": shapes.PROBLEM}},
    }
