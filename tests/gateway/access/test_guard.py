from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.access.guard import check_exposure
from gateway.access.local import is_local
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.control import ApiKey, ControlSettings
from tidemill.kernel.settings.keys import create_key, hash_key
from tidemill.kernel.settings.values import Address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import ControlBench
    from starlette.requests import Request

ADMIN, READER = create_key(), create_key()
KEYS = (
    ApiKey(name="deploy", hash=hash_key(ADMIN)),
    ApiKey(name="prometheus", hash=hash_key(READER), role="read"),
)


async def echo(_: Request) -> JSONResponse:
    return JSONResponse({"served": True})


class Control:
    """A control listener with some keys."""

    def __init__(self, bench: type[ControlBench], keys: Sequence[ApiKey], *, loopback: bool = True) -> None:
        listen = Address("127.0.0.1" if loopback else "0.0.0.0", 8081)
        route = Route("/api/v1/tasks/{task}", echo, methods=["GET", "DELETE"])
        self.bench = bench(ControlSettings(listen=listen, keys=tuple(keys)), lambda _: [route])
        self.metrics = self.bench.metrics

    def ask(self, path: str = "/api/v1/tasks/echo", method: str = "GET", **headers: str) -> httpx.Response:
        return self.bench.ask(path, method, **headers)


@pytest.fixture
def control_of(control_bench: type[ControlBench]) -> Callable[..., Control]:
    return partial(Control, control_bench)


@pytest.mark.parametrize("host", ["localhost", "localhost:8081", "127.0.0.1", "127.1.2.3:80", "[::1]:8081"])
def test_without_keys_this_machine_is_served(host: str, control_of: Callable[..., Control]) -> None:
    assert control_of(()).ask(host=host).json() == {"served": True}


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"host": "control.example.com"}, "foreign-host"),
        ({"host": "localhost.example.com"}, "foreign-host"),
        ({"host": "127.0.0.1.nip.io"}, "foreign-host"),
        ({"host": "10.0.0.1:8081"}, "foreign-host"),
        ({"host": ""}, "foreign-host"),
        ({"host": "[::1"}, "foreign-host"),
        ({"host": "[::1]evil.example"}, "foreign-host"),
        ({"host": "localhost:evil"}, "foreign-host"),
        ({"host": "127.0.0.1:80@evil.example"}, "foreign-host"),
        ({"host": "::1"}, "foreign-host"),
        ({"origin": "http://[::1"}, "foreign-origin"),
        ({"x_forwarded_for": "203.0.113.7"}, "forwarded"),
        ({"x_forwarded_host": "localhost"}, "forwarded"),
        ({"x_forwarded_anything": "x"}, "forwarded"),
        ({"forwarded": "for=203.0.113.7"}, "forwarded"),
        ({"x_real_ip": "203.0.113.7"}, "forwarded"),
        ({"via": "1.1 proxy"}, "forwarded"),
        ({"x_forwarded": "203.0.113.7"}, "forwarded"),
        ({"x_forwarded_proto": "https"}, "forwarded"),
        ({"x_client_ip": "203.0.113.7"}, "forwarded"),
        ({"x_cluster_client_ip": "203.0.113.7"}, "forwarded"),
        ({"x_original_forwarded_for": "203.0.113.7"}, "forwarded"),
        ({"cf_connecting_ip": "203.0.113.7"}, "forwarded"),
        ({"cf_connecting_ipv6": "2001:db8::7"}, "forwarded"),
        ({"true_client_ip": "203.0.113.7"}, "forwarded"),
        ({"origin": "https://evil.example"}, "foreign-origin"),
        ({"origin": "null"}, "foreign-origin"),
    ],
)
def test_without_keys_nobody_else_is_served(
    headers: dict[str, str], kind: str, control_of: Callable[..., Control]
) -> None:
    for path in ("/api/v1/tasks/echo", "/metrics", "/openapi.json", "/nothing"):
        reply = control_of(()).ask(path, **headers)
        assert (reply.status_code, reply.json()["type"]) == (403, f"urn:tidemill:problem:{kind}")


def test_a_page_of_this_machine_may_look(control_of: Callable[..., Control]) -> None:
    assert control_of(()).ask(origin="http://localhost:3000").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:8081"}, 200),
        ({"origin": "http://localhost:3000"}, 403),
        ({"origin": "http://127.0.0.1:8082"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "cross-site", "origin": "http://127.0.0.1:8081"}, 403),
    ],
)
def test_only_pages_of_its_own_change_anything(
    headers: dict[str, str], status: int, control_of: Callable[..., Control]
) -> None:
    assert control_of(()).ask(method="DELETE", **headers).status_code == status


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("keys", [(), KEYS])
def test_health_checks_are_always_served(
    path: str, keys: tuple[ApiKey, ...], control_of: Callable[..., Control]
) -> None:
    assert control_of(keys).ask(path, host="gateway:8081", x_forwarded_for="10.0.0.9").status_code == 200


def test_a_key_opens_from_everywhere(control_of: Callable[..., Control]) -> None:
    headers = {"host": "control.example.com", "x_forwarded_for": "203.0.113.7"}
    control = control_of(KEYS, loopback=False)
    assert control.ask(authorization=f"Bearer {ADMIN}", **headers).status_code == 200
    assert control.ask(authorization=f"bearer {ADMIN}", method="DELETE", **headers).status_code == 200
    assert control.ask("/metrics", authorization=f"Bearer {READER}", **headers).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", f"Basic {ADMIN}", "Bearer tm_wrong", ADMIN],
    ids=["none", "empty", "no token", "an empty token", "basic", "unknown", "no scheme"],
)
def test_without_a_known_key_nobody_is_served(
    authorization: str | None, control_of: Callable[..., Control]
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    reply = control_of(KEYS).ask(**headers)
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert ADMIN not in reply.text
    assert reply.json()["hint"]


def test_a_reading_key_cannot_change_anything(control_of: Callable[..., Control]) -> None:
    control = control_of(KEYS)
    assert control.ask(authorization=f"Bearer {READER}").status_code == 200
    assert control.ask(authorization=f"Bearer {READER}", method="DELETE").status_code == 403


def test_keys_that_are_taken_away_on_a_network_address_open_nothing(
    control_of: Callable[..., Control],
) -> None:
    reply = control_of((), loopback=False).ask()
    assert (reply.status_code, reply.json()["type"]) == (403, "urn:tidemill:problem:no-keys")


def test_a_network_address_without_keys_does_not_start() -> None:
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0:8081") as caught:
        check_exposure(ControlSettings(listen=Address("0.0.0.0", 8081)))
    assert "key" in caught.value.hint
    check_exposure(ControlSettings(listen=Address("0.0.0.0", 8081), keys=KEYS))
    check_exposure(ControlSettings(listen=Address("::1", 8081)))


def test_requests_are_counted_by_bounded_labels(control_of: Callable[..., Control]) -> None:
    control = control_of(())
    control.ask()
    control.ask("/api/v1/no/such/thing")
    control.ask(method="BREW")
    assert dict(control.metrics.control_requests) == {
        ("GET", "echo", "200"): 1,
        ("GET", "none", "404"): 1,
        ("other", "echo", "405"): 1,
    }


@given(st.binary(max_size=40))
def test_any_host_gets_an_answer(host: bytes) -> None:
    result: Any = is_local(host)
    assert result in (True, False)
    if result:
        assert host.lower().startswith((b"localhost", b"127.", b"[")) or b"127." in host
        assert host.startswith(b"[") == (b"]" in host)
