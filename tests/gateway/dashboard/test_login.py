"""Logins with an API key in a browser: what they open, what ends them, and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from gateway.access.attempts import BURST
from gateway.access.form import form_of
from gateway.access.identity import visit_of
from tidemill.kernel.settings.control import ApiKey, ControlSettings
from tidemill.kernel.settings.keys import create_key, hash_key
from tidemill.kernel.settings.values import Address

if TYPE_CHECKING:
    import httpx
    from conftest import ControlBench
    from starlette.requests import Request
    from starlette.responses import Response

ADMIN, VIEWER = create_key(), create_key()
KEYS = (
    ApiKey(name="ada", hash=hash_key(ADMIN)),
    ApiKey(name="vera", hash=hash_key(VIEWER), role="viewer"),
)
START = 1_800_000_000.0


async def who(request: Request) -> Response:
    visit = visit_of(request)
    assert visit
    return JSONResponse({"name": visit.identity.name, "roles": sorted(visit.identity.roles)})


async def change(request: Request) -> Response:
    return PlainTextResponse(f"changed to {form_of(request).get('value')}")


class Browser:
    """A browser with a control listener that takes keys."""

    def __init__(self, bench: type[ControlBench], **settings: Any) -> None:
        self.time = START
        control = ControlSettings(listen=Address("0.0.0.0", 8081), keys=KEYS, **settings)
        routes = [
            Route("/", who),
            Route("/api/v1/runs", who),
            Route("/api/v1/runs/{run}/cancel", who, methods=["POST"]),
            Route("/theme", change, methods=["POST"]),
        ]
        self.bench = bench(control, lambda _: routes, now=lambda: self.time)

    def ask(self, path: str, method: str = "GET", **kwargs: Any) -> httpx.Response:
        return self.bench.browse(path, method, **kwargs)

    def log_in(self, key: str = ADMIN, back: str = "/", **fields: str) -> httpx.Response:
        page = self.ask("/login", params={"next": back})
        form = {"csrf": hidden(page, "csrf"), "next": hidden(page, "next"), "key": key} | fields
        return self.ask("/login", "POST", data=form)

    def csrf(self) -> str:
        return hidden(self.ask("/nothing"), "csrf")


def hidden(page: httpx.Response, name: str) -> str:
    found = re.search(rf'type="hidden" name="{name}" value="([^"]*)"', page.text)
    assert found, page.text
    return found[1]


@pytest.fixture
def browser(control_bench: type[ControlBench]) -> Browser:
    return Browser(control_bench)


@pytest.fixture
def browser_with(control_bench: type[ControlBench]) -> Callable[..., Browser]:
    return lambda **settings: Browser(control_bench, **settings)


def test_a_stranger_is_led_to_the_login_and_back(browser: Browser) -> None:
    turned = browser.ask("/?status=failed")
    assert (turned.status_code, turned.headers["location"]) == (303, "/login?next=%2F%3Fstatus%3Dfailed")
    back = browser.log_in(back="/?status=failed")
    assert (back.status_code, back.headers["location"]) == (303, "/?status=failed")
    assert browser.ask("/").json() == {"name": "ada", "roles": ["admin"]}
    assert browser.ask("/login").headers["location"] == "/"


def test_a_program_is_answered_with_a_problem(browser: Browser) -> None:
    reply = browser.ask("/api/v1/runs")
    assert (reply.status_code, reply.headers["content-type"]) == (401, "application/problem+json")


@pytest.mark.parametrize(
    "key", ["", "tm_wrong", ADMIN[:-1], KEYS[0].hash], ids=["none", "unknown", "cut off", "the hash"]
)
def test_an_unknown_key_opens_nothing(browser: Browser, key: str) -> None:
    reply = browser.log_in(key)
    assert reply.status_code == 401
    assert "known" in reply.text
    assert key == "" or key not in reply.text
    assert browser.ask("/").status_code == 303


def test_the_cookie_is_for_this_host_and_no_script(browser_with: Callable[..., Browser]) -> None:
    plain = session_cookie(browser_with().log_in())
    assert plain.startswith("tidemill-session=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(plain.split("; "))
    assert "Secure" not in plain
    safe = session_cookie(browser_with(public_url="https://tide.example").log_in())
    assert safe.startswith("__Host-tidemill-session=")
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Secure"} <= set(safe.split("; "))
    assert "Domain" not in safe


def session_cookie(reply: httpx.Response) -> str:
    return next(one for one in reply.headers.get_list("set-cookie") if "tidemill-session" in one)


def test_a_login_ends_with_its_time(browser: Browser) -> None:
    browser.log_in()
    browser.time += browser.bench.control.session - 1
    assert browser.ask("/").status_code == 200
    browser.time += 2
    assert browser.ask("/").status_code == 303


def test_a_login_ends_with_its_key_and_has_its_present_role(browser: Browser) -> None:
    browser.log_in()
    browser.bench.keys = (ApiKey(name="ada", hash=hash_key(ADMIN), role="viewer"),)
    assert browser.ask("/").json() == {"name": "ada", "roles": ["viewer"]}
    browser.bench.keys = (KEYS[1],)
    assert browser.ask("/").status_code == 303


def test_a_logout_ends_the_login_everywhere(browser: Browser) -> None:
    browser.log_in()
    kept = dict(browser.bench.client.cookies)
    assert browser.ask("/logout", "POST", data={"csrf": browser.csrf()}).headers["location"] == "/login"
    assert browser.ask("/").status_code == 303
    assert len(browser.bench.ended.entries) == 1
    browser.bench.client.cookies.update(kept)
    assert browser.ask("/").status_code == 303


def test_an_administrator_ends_all_logins_of_somebody(browser: Browser) -> None:
    browser.log_in()
    reply = browser.ask("/api/v1/logins/ada", "DELETE", headers={"authorization": f"Bearer {ADMIN}"})
    assert reply.json() == {"ended": "ada"}
    assert browser.ask("/").status_code == 303
    browser.time += 1
    browser.log_in()
    assert browser.ask("/").status_code == 200
    refused = browser.ask("/api/v1/logins/ada", "DELETE", headers={"authorization": f"Bearer {VIEWER}"})
    assert refused.status_code == 403
    assert [change.action for change, _, _ in browser.bench.audit.changes] == [
        "login",
        "logins.delete",
        "login",
    ]


@pytest.mark.parametrize("spoil", ["x", ".", "A" * 5000, "e30.e30", "é"])
def test_a_cookie_that_was_made_elsewhere_opens_nothing(browser: Browser, spoil: str) -> None:
    header = f"tidemill-session={spoil}".encode()
    assert browser.ask("/", headers={"cookie": header}).status_code == 303


def test_an_expired_login_in_the_middle_of_an_action_leads_back_to_it(browser: Browser) -> None:
    browser.log_in()
    token = browser.csrf()
    browser.time += browser.bench.control.session
    referer = "http://127.0.0.1:8081/runs/run_1?tab=steps"
    page = browser.ask("/theme", "POST", data={"csrf": token}, headers={"referer": referer})
    assert page.status_code == 401
    assert "Nothing was changed" in page.text
    assert 'href="/login?next=%2Fruns%2Frun_1%3Ftab%3Dsteps"' in page.text
    elsewhere = browser.ask("/theme", "POST", headers={"referer": "https://evil.example/x"})
    assert 'href="/login"' in elsewhere.text


def test_a_form_takes_the_token_of_its_own_login(browser: Browser) -> None:
    browser.log_in(VIEWER)
    foreign = browser.csrf()
    browser.bench.client.cookies.clear()
    browser.log_in()
    assert browser.ask("/theme", "POST", data={"csrf": foreign}).status_code == 403
    reply = browser.ask("/theme", "POST", data={"csrf": browser.csrf(), "value": "x"})
    assert (reply.status_code, reply.headers.get("location")) == (303, "/")


def test_the_api_takes_a_cookie_only_with_the_token(browser: Browser) -> None:
    browser.log_in()
    assert browser.ask("/api/v1/runs").status_code == 200
    path = "/api/v1/runs/x/cancel"
    assert browser.ask(path, "POST").status_code == 403
    assert browser.ask(path, "POST", headers={"x-csrf-token": "x"}).status_code == 403
    assert browser.ask(path, "POST", headers={"x-csrf-token": browser.csrf()}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
)
def test_no_other_site_logs_anybody_in(browser: Browser, headers: dict[str, str]) -> None:
    page = browser.ask("/login")
    form = {"csrf": hidden(page, "csrf"), "key": ADMIN}
    reply = browser.ask("/login", "POST", data=form, headers=headers)
    assert reply.status_code == 403
    assert "set-cookie" not in reply.headers


def test_a_login_takes_the_form_that_was_asked_for(browser: Browser) -> None:
    assert browser.log_in(csrf="x").status_code == 403
    page = browser.ask("/login")
    browser.bench.client.cookies.clear()
    form = {"csrf": hidden(page, "csrf"), "key": ADMIN}
    assert browser.ask("/login", "POST", data=form).status_code == 403
    page = browser.ask("/login")
    browser.time += 601
    assert browser.ask("/login", "POST", data=form | {"csrf": hidden(page, "csrf")}).status_code == 403


def test_logins_are_limited(browser: Browser) -> None:
    statuses = [browser.log_in("tm_wrong").status_code for _ in range(BURST + 2)]
    assert statuses == [401] * BURST + [429] * 2
    assert browser.log_in().status_code == 429
    page = browser.ask("/login")
    form = {"csrf": hidden(page, "csrf"), "key": ADMIN}
    other = browser.ask("/login", "POST", data=form, headers={"x-forwarded-for": "203.0.113.9"})
    assert other.status_code == 303


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"]
)
def test_a_login_leads_to_no_other_site(browser: Browser, back: str) -> None:
    assert browser.log_in(back=back).headers["location"] == "/"


def test_the_way_back_is_no_place_for_script(browser: Browser) -> None:
    for back in ("/<script>alert(1)</script>", '/"onload="alert(1)'):
        page = browser.ask("/login", params={"next": back})
        assert "<script" not in page.text
        assert 'onload="alert' not in page.text
