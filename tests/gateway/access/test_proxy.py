from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.access.guard import check_exposure
from gateway.access.identity import visit_of
from gateway.access.proxy import Proxy
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.control import ApiKey, ControlSettings, ProxySettings
from tidemill.kernel.settings.keys import create_key, hash_key
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.secrets import Secret, SecretRef
from tidemill.kernel.settings.values import Address

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import ControlBench
    from starlette.requests import Request
    from starlette.responses import Response

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000
KEY = create_key()
CLAIMS: dict[str, Any] = {
    "iss": "proxy",
    "aud": "tidemill",
    "exp": NOW + 60,
    "email": "ann@example.com",
    "groups": "ops",
}


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    given = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jwt.encode({"alg": algorithm}, given, OctKey.import_key(secret), algorithms=[algorithm])


async def who(request: Request) -> Response:
    visit = visit_of(request)
    assert visit
    return JSONResponse([visit.identity.name, sorted(visit.identity.roles), visit.csrf])


@pytest.fixture
def ask(control_bench: type[ControlBench]) -> Callable[..., httpx.Response]:
    settings = ProxySettings(
        header="X-Identity",
        audience="tidemill",
        issuer="proxy",
        secret=SecretRef(SECRET),
        roles={"ops": "operator"},
    )
    keys = (ApiKey(name="ci", hash=hash_key(KEY)),)
    control = ControlSettings(listen=Address("0.0.0.0", 8081), proxy=settings, keys=keys)
    proxy = Proxy(settings, Secret(SECRET), now=lambda: NOW)
    routes = [Route("/", who), Route("/theme", who, methods=["POST"])]
    bench = control_bench(control, lambda _: routes, proxy=proxy)
    return bench.ask


def test_a_signed_header_says_who_it_is(ask: Callable[..., httpx.Response]) -> None:
    assert ask("/", x_identity=signed()).json()[:2] == ["ann@example.com", ["operator"]]
    assert ask("/", x_identity=f"Bearer {signed(algorithm='HS512')}").status_code == 200
    assert ask("/", x_identity=signed(aud=["x", "tidemill"])).status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        "",
        "ann@example.com",
        "x" * 20_000,
        "e30.e30.",
        signed(secret=SECRET[::-1]),
        signed(aud="other"),
        signed(aud=None),
        signed(iss="other"),
        signed(iss=None),
        signed(exp=NOW - 3600),
        signed(exp=None),
        signed(exp="soon"),
        signed(nbf=NOW + 3600),
        signed(groups=None),
        signed(groups=["other"]),
        signed(groups={"ops": 1}),
        signed(email=None),
        signed(email=["ann"]),
        signed(email="a\nb"),
        signed(email_verified=False),
    ],
)
def test_what_isnt_signed_for_here_and_now_opens_nothing(
    ask: Callable[..., httpx.Response], token: str
) -> None:
    assert ask("/", x_identity=token).status_code in (403, 503)


@pytest.mark.parametrize("name", ["x-forwarded-user", "x-auth-request-email", "remote-user"])
def test_a_bare_header_opens_nothing(ask: Callable[..., httpx.Response], name: str) -> None:
    assert ask("/", headers={name: "ann@example.com"}).status_code == 401
    assert ask("/").status_code == 401


def test_a_header_that_comes_twice_opens_nothing(ask: Callable[..., httpx.Response]) -> None:
    twice = [("x-identity", signed()), ("x-identity", signed(email="eve@example.com"))]
    bench = ask.__self__  # type: ignore[attr-defined] # a bound method
    assert asyncio.run(bench.client.get("/", headers=twice)).status_code == 503


def test_programs_still_come_with_keys(ask: Callable[..., httpx.Response]) -> None:
    assert ask("/", authorization=f"Bearer {KEY}", x_identity="x").json()[0] == "ci"


def test_no_other_site_acts_for_whom_the_proxy_lets_through(ask: Callable[..., httpx.Response]) -> None:
    token = signed()
    csrf = ask("/", x_identity=token).json()[2]
    sent = {"x_identity": token, "data": {"csrf": csrf}}
    assert ask("/theme", "POST", origin="https://evil.example", **sent).status_code == 403
    assert ask("/theme", "POST", sec_fetch_site="cross-site", **sent).status_code == 403
    assert ask("/theme", "POST", x_identity=token, data={"csrf": "x"}).status_code == 403
    assert ask("/theme", "POST", sec_fetch_site="same-origin", **sent).status_code in (200, 303)


def test_a_short_secret_is_refused() -> None:
    settings = ProxySettings(header="X", audience="t", secret=SecretRef("short"), roles={"*": "viewer"})
    with pytest.raises(SettingsError, match="shorter than 32"):
        Proxy(settings, Secret("short"))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('[control.proxy]\nheader = "X"\naudience = "t"\nroles = {"*" = "viewer"}', "secret or jwks_url"),
        ('[control.proxy]\nheader = "X"\nsecret = "s"\nroles = {"*" = "viewer"}', "audience"),
        ('[control.oidc]\nissuer = "https://i"\nclient_id = "c"\nroles = {"*" = "viewer"}', "public_url"),
        ('[control.oidc]\nissuer = "https://i"\nclient_id = "c"\nroles = {}', "roles"),
        ('[control.oidc]\nissuer = "https://i"\nclient_id = "c"\nroles = {"*" = "king"}', "roles"),
    ],
)
def test_settings_that_would_let_anybody_in_are_refused(tmp_path: Path, lines: str, says: str) -> None:
    (tmp_path / "tidemill.toml").write_text(lines)
    with pytest.raises(SettingsError, match=says):
        Settings.load(tmp_path / "tidemill.toml", {})


def test_each_way_in_is_enough_for_a_network_address() -> None:
    proxy = ProxySettings(header="X", audience="t", secret=SecretRef(SECRET), roles={"*": "viewer"})
    check_exposure(ControlSettings(listen=Address("0.0.0.0", 8081), proxy=proxy))
