"""What changes something stands in the record before it is done, with what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.access.changes import action_of
from tidemill.kernel.errors import BrokerUnavailableError, ConflictError
from tidemill.kernel.settings.control import ApiKey, ControlSettings
from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from conftest import ControlBench
    from starlette.requests import Request
    from starlette.responses import Response

KEY = create_key()


class Runs:
    """Endpoints that note that they were reached."""

    def __init__(self) -> None:
        self.reached = 0

    async def cancel(self, request: Request) -> Response:
        self.reached += 1
        match request.path_params["run"]:
            case "conflict":
                raise ConflictError("it has ended")
            case "missing":
                raise HTTPException(404)
            case "broken":
                raise RuntimeError("a defect")
        return JSONResponse({}, 202)


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def bench(control_bench: type[ControlBench], runs: Runs) -> ControlBench:
    control = ControlSettings(keys=(ApiKey(name="ada", hash=hash_key(KEY), role="operator"),))
    path = "/api/v1/runs/{run}/cancel"
    routes = [Route(path, runs.cancel, methods=["POST"]), Route("/api/v1/tasks/{task}", runs.cancel)]
    return control_bench(control, lambda _: routes)


@pytest.mark.parametrize(
    ("run", "outcome"),
    [
        ("run_1", "done"),
        ("conflict", "409 Conflict"),
        ("missing", "404 Not Found"),
        ("broken", "it was cut short"),
    ],
)
def test_a_change_is_recorded_with_what_came_of_it(bench: ControlBench, run: str, outcome: str) -> None:
    headers = {"authorization": f"Bearer {KEY}", "x-forwarded-for": "203.0.113.7"}
    bench.ask(f"/api/v1/runs/{run}/cancel", "POST", headers=headers)
    [[change, came, _]] = bench.audit.changes
    assert change.document() == {
        "who": "ada",
        "how": "key",
        "action": "runs.cancel",
        "target": run,
        "client": "203.0.113.7",
    }
    assert came == outcome


def test_what_cannot_be_recorded_is_not_done(bench: ControlBench, runs: Runs) -> None:
    bench.audit.error = BrokerUnavailableError("the broker is away")
    reply = bench.ask("/api/v1/runs/run_1/cancel", "POST", authorization=f"Bearer {KEY}")
    assert (reply.status_code, runs.reached) == (503, 0)


def test_looking_and_being_refused_change_nothing(bench: ControlBench) -> None:
    bench.ask("/api/v1/tasks/x", authorization=f"Bearer {KEY}")
    bench.ask("/api/v1/runs/run_1/cancel", "POST")
    bench.ask("/api/v1/runs/run_1/cancel", "GET", authorization=f"Bearer {KEY}")
    assert bench.audit.changes == []


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("POST", "/api/v1/runs/{run}/cancel", "runs.cancel"),
        ("DELETE", "/api/v1/tasks/{task}", "tasks.delete"),
        ("POST", "/api/v1/sources/{source}/secret/reveal", "sources.secret.reveal"),
        ("POST", "/api/v1/events/{id:path}/replay", "events.replay"),
        ("POST", "/logout", "logout"),
    ],
)
def test_a_route_has_a_name(method: str, path: str, action: str) -> None:
    assert action_of(method, path) == action
