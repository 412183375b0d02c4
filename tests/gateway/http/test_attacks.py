"""What a scanner tries at the control listener: every route, with hostile paths, headers and hosts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.routing import Route

from gateway.access.identity import Right
from gateway.access.table import right_of
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.services import registry
from tidemill.kernel.services.run_logs import Batch, store
from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from conftest import BrokerProcess, House

    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration

KEY = create_key()
SCRIPT = "<script>alert(1)</script>"
PAYLOADS = (
    SCRIPT,
    '"><img src=x onerror=alert(1)>',
    "..%2f..%2f..%2fetc%2fpasswd",
    "%00",
    "%0d%0aset-cookie:x=1",
    "a" * 3000,
    "é\u202e",
)
BROWSER = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture
async def guarded(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> AsyncIterator[House]:
    settings = settled(broker.url, names, control=f'keys = [{{ name = "ada", hash = "{hash_key(KEY)}" }}]\n')
    async with housed(settings) as house:
        yield house


def base(house: House) -> str:
    return house.control.removesuffix("/api/v1")


def routes_of(house: House) -> list[Route]:
    found: Any = house.gateway._listeners["control"].config.app
    while not hasattr(found, "routes"):
        found = getattr(found, "app", None) or found._app
    return list(found.routes)


async def look(house: House, url: str, **given: Any) -> httpx.Response:
    """GET; of what goes on for ever the head alone."""
    async with house.client.stream("GET", url, **given) as reply:
        if reply.headers.get("content-type", "").startswith("text/event-stream"):
            reply._content = b""
        else:
            await reply.aread()
        return reply


def check(reply: httpx.Response) -> None:
    """Hold an answer against what no answer may do."""
    where = f"{reply.request.method} {reply.request.url}"
    headers = reply.headers
    assert reply.status_code != 500, where
    assert headers["x-content-type-options"] == "nosniff", where
    assert headers["x-frame-options"] == "DENY", where
    assert "default-src 'none'" in headers["content-security-policy"], where
    assert "unsafe" not in headers["content-security-policy"], where
    assert "access-control-allow-origin" not in headers, where
    assert "x=1" not in headers.get("set-cookie", ""), where
    assert "server" not in headers, where
    if "/static/" not in reply.request.url.path:
        assert headers["cache-control"] == "no-store", where
    if headers.get("content-type", "").startswith("text/html"):
        text = reply.text
        assert SCRIPT not in text, where
        assert "<img src=x" not in text, where
    assert "Traceback" not in reply.text, where


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_no_route_gives_back_what_it_is_given(guarded: House, payload: str) -> None:
    key = {"authorization": f"Bearer {KEY}"}
    for route in routes_of(guarded):
        path = re.sub(r"\{\w+(:path)?\}", lambda _: payload, route.path)
        if path != route.path:
            for method in sorted((route.methods or set()) - {"HEAD"}):
                for headers in (key, BROWSER, BROWSER | key):
                    check(await guarded.client.request(method, base(guarded) + path, headers=headers))


async def test_parameters_are_given_back_by_no_page(guarded: House) -> None:
    hostile = dict.fromkeys(("next", "q", "task", "status", "type", "source", "before", "after"), SCRIPT)
    for route in routes_of(guarded):
        if "{" not in route.path and "GET" in (route.methods or ()):
            for headers in ({"authorization": f"Bearer {KEY}"} | BROWSER, BROWSER, {}):
                url = base(guarded) + route.path
                check(await look(guarded, url, params=hostile, headers=headers))


async def test_what_is_stored_is_escaped_where_it_is_shown(guarded: House) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    await registry.publish(guarded.broker.tasks, TaskDefinition(id="greet"))
    order = {"payload": {"name": SCRIPT}, "options": {"tags": [SCRIPT], "idempotency_key": SCRIPT}}
    started = await guarded.client.post(f"{guarded.control}/tasks/greet/trigger", json=order, headers=headers)
    run = started.json()["run_id"]
    await store(guarded.broker.bus, Batch(run, 1, [(1.8e9, "info", SCRIPT, SCRIPT, SCRIPT)], 0, 100))
    for route in routes_of(guarded):
        if "GET" in (route.methods or ()):
            path = route.path.replace("{run}", run).replace("{task}", "greet")
            check(await look(guarded, base(guarded) + path, headers=headers | BROWSER))


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example", "x-forwarded-host": "evil.example"},
        {"x-forwarded-host": "evil.example", "x-forwarded-proto": "https"},
        {"forwarded": "host=evil.example;proto=https"},
        {"x-original-url": "/api/v1/runs", "x-rewrite-url": "/api/v1/runs"},
        {"x-http-method-override": "DELETE"},
    ],
)
async def test_no_header_leads_elsewhere(guarded: House, headers: dict[str, str]) -> None:
    for path in ("/", "/login", "/login?next=/x", "/nothing", "/api/v1/runs", "/login/oidc"):
        for key in ({}, {"authorization": f"Bearer {KEY}"}):
            reply = await guarded.client.get(base(guarded) + path, headers=BROWSER | headers | key)
            check(reply)
            assert "evil.example" not in reply.text
            assert "evil.example" not in str(reply.headers)
            assert reply.headers.get("location", "/").startswith("/")


async def test_a_stranger_learns_nothing_from_what_is_refused(guarded: House) -> None:
    paths = ("/api/v1/runs", "/api/v1/nothing", "/api/v1/runs/run_00000000000000000000000000", "/metrics")
    replies = [await guarded.client.get(base(guarded) + path) for path in paths]
    assert {(reply.status_code, reply.text) for reply in replies} == {(401, replies[0].text)}


async def test_every_route_that_changes_something_needs_more_than_a_cookie(guarded: House) -> None:
    page = await guarded.client.get(f"{base(guarded)}/login")
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    form = {"csrf": token, "key": KEY}
    assert (await guarded.client.post(f"{base(guarded)}/login", data=form)).status_code == 303
    assert (await guarded.client.get(f"{guarded.control}/runs")).status_code == 200
    for route in routes_of(guarded):
        for method in sorted((route.methods or set()) - {"GET", "HEAD"}):
            if right_of(method, route.path) is Right.OPEN:
                continue
            for headers in ({}, {"x-csrf-token": "x"}, {"content-type": "text/plain"}, {"origin": "null"}):
                path = route.path.replace("{", "").replace("}", "").replace(":path", "")
                reply = await guarded.client.request(method, base(guarded) + path, headers=headers)
                assert reply.status_code in (403, 415), f"{method} {route.path}"
    assert (await guarded.client.get(f"{guarded.control}/audit")).json()["audit"][0]["action"] == "login"


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PROPFIND", "PUT"])
async def test_other_methods_are_refused(guarded: House, method: str) -> None:
    for path in ("/", "/api/v1/runs", "/login"):
        headers = {"authorization": f"Bearer {KEY}"}
        reply = await guarded.client.request(method, base(guarded) + path, headers=headers)
        assert reply.status_code == 405
        assert KEY not in reply.text
