"""Operations on runs, as the control API's document describes them."""

from __future__ import annotations

from gateway.api import shapes
from gateway.api.operation import Schema, operation


def of_runs() -> Schema:
    """Return the operations on runs and on what they wait for."""
    return {
        "/api/v1/runs": {"get": operation("List runs", query=["task", "status", "limit"])},
        "/api/v1/runs/{run}": {"get": operation("Show a run", path=["run"], answer=shapes.RUN)},
        "/api/v1/runs/{run}/logs": {
            "get": operation(
                "Show what a run has logged, or with `follow` an event stream of it",
                path=["run"],
                query=["after", "limit", "follow"],
                schemas=shapes.OF_LOGS,
            )
        },
        "/api/v1/runs/{run}/cancel": {"post": operation("Cancel a run", path=["run"], body=shapes.REASON)},
        "/api/v1/runs/{run}/retry": {
            "post": operation("Let a failed run go on", path=["run"], body=shapes.REASON)
        },
        "/api/v1/runs/{run}/replay": {
            "post": operation(
                "Start a new run with a run's input, or with another one",
                path=["run"],
                body=shapes.REPLAY,
                status="202",
                answer=shapes.RUN,
            )
        },
        "/api/v1/runs/{run}/fork": {
            "post": operation(
                "Start a new run that takes over what a run had finished before a point",
                path=["run"],
                body=shapes.FORK,
                status="202",
                answer=shapes.RUN,
                header="Idempotency-Key",
            )
        },
        "/api/v1/runs/{run}/signals/{name}": {
            "post": operation(
                "Send a run a signal",
                path=["run", "name"],
                body=shapes.SIGNAL,
                status="202",
                header="Idempotency-Key",
            )
        },
        "/api/v1/bulk": {
            "post": operation("Select what fits a filter, to do something to all of it", body=shapes.BULK)
        },
        "/api/v1/bulk/{token}": {"get": operation("Show how far a selection is", path=["token"])},
        "/api/v1/bulk/{token}/execute": {
            "post": operation("Do it to all of a selection", path=["token"], status="202")
        },
        "/api/v1/tokens": {"get": operation("List open tokens", query=["task", "run", "limit"])},
        "/api/v1/tokens/{id}": {"get": operation("Show a token with its answers", path=["id"])},
        "/api/v1/tokens/{id}/complete": {
            "post": operation(
                "Answer a token or an approval", path=["id"], body=shapes.DECISION, header="Idempotency-Key"
            )
        },
    }
