"""Logins at a real provider, which is a process of its own and is asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.access.identity import visit_of
from gateway.access.keysets import KeySource
from gateway.access.oidc import Oidc
from gateway.keys.places import Ask, FetchError, Reply
from gateway.keys.store import KeyStore
from tests.conftest import free_port
from tidemill.kernel.errors import ProviderError
from tidemill.kernel.settings.control import ControlSettings, OidcSettings
from tidemill.kernel.settings.secrets import Secret, SecretRef
from tidemill.kernel.settings.values import Address

if TYPE_CHECKING:
    from conftest import ControlBench
    from starlette.requests import Request
    from starlette.responses import Response

PUBLIC = "http://127.0.0.1:8081"
SECRET = "s3cret:%/+ of the client"
ROLES = {"ops": "operator", "other": "approver"}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    script = Path(__file__).parent / "provider.py"
    process = subprocess.Popen([sys.executable, str(script), str(port)])
    try:
        for _ in range(200):
            try:
                httpx.get(f"{url}/jwks", trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


async def who(request: Request) -> Response:
    visit = visit_of(request)
    assert visit
    return JSONResponse([visit.identity.name, sorted(visit.identity.roles), visit.identity.kind])


@dataclass
class Person:
    """Somebody with a browser, and an account at the provider."""

    bench: ControlBench
    provider: str

    def is_(self, user: str, fault: str = "") -> None:
        httpx.get(f"{self.provider}/as/{user}", params={"fault": fault}, trust_env=False)

    def leave(self, back: str = "/") -> str:
        reply = self.bench.browse("/login/oidc", params={"next": back})
        assert reply.status_code == 303, reply.text
        return reply.headers["location"]

    def at_provider(self, address: str) -> str:
        reply = httpx.get(address, trust_env=False)
        assert reply.status_code == 302, reply.text
        return str(reply.headers["location"])

    def come_back(self, address: str) -> httpx.Response:
        assert address.startswith(f"{PUBLIC}/login/callback?")
        return self.bench.browse(address.removeprefix(PUBLIC))

    def log_in(self, back: str = "/") -> httpx.Response:
        return self.come_back(self.at_provider(self.leave(back)))


@pytest.fixture
def person_with(control_bench: type[ControlBench], provider: str) -> Callable[..., Person]:
    def make(secret: str = SECRET, **settings: Any) -> Person:
        given = {
            "issuer": provider,
            "client_id": "tidemill",
            "client_secret": SecretRef(secret),
            "roles": ROLES,
        }
        oidc = OidcSettings.model_validate(given | settings)
        control = ControlSettings(listen=Address("0.0.0.0", 8081), public_url=PUBLIC, oidc=oidc)
        bench = control_bench(control, lambda _: [Route("/", who)], oidc=Oidc(oidc, Secret(secret), PUBLIC))
        person = Person(bench, provider)
        person.is_("ada")
        return person

    return make


@pytest.fixture
def person(person_with: Callable[..., Person]) -> Person:
    return person_with()


def test_somebody_logs_in_and_has_the_roles_of_their_groups(person: Person) -> None:
    turned = person.bench.browse("/?x=1")
    assert turned.headers["location"] == "/login?next=%2F%3Fx%3D1"
    page = person.bench.browse("/login?next=%2F%3Fx%3D1")
    assert 'href="/login/oidc?next=%2F%3Fx%3D1"' in page.text
    done = person.log_in("/?x=1")
    assert (done.status_code, done.headers["location"]) == (303, "/?x=1")
    assert person.bench.browse("/").json() == ["ada@example.com", ["approver", "operator"], "oidc"]


def test_what_is_sent_to_the_provider_gives_nothing_away(person: Person) -> None:
    first, second = (parse_qs(urlsplit(person.leave()).query) for _ in range(2))
    for name in ("state", "nonce", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name][0]) >= 32
    assert first["redirect_uri"] == [f"{PUBLIC}/login/callback"]
    assert first["code_challenge_method"] == ["S256"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("wrong-issuer", 503),
        ("wrong-audience", 503),
        ("wrong-party", 503),
        ("expired", 503),
        ("early", 503),
        ("endless", 503),
        ("wrong-nonce", 503),
        ("unsigned", 503),
        ("confused", 503),
        ("foreign-key", 503),
        ("two-people", 503),
        ("mixed-up", 503),
        ("denied", 503),
    ],
)
def test_what_the_provider_gets_wrong_opens_nothing(person: Person, fault: str, status: int) -> None:
    person.is_("ada", fault)
    reply = person.log_in()
    assert (reply.status_code, reply.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert "The login failed" in reply.text
    assert person.bench.browse("/").status_code == 303


@pytest.mark.parametrize(
    ("user", "says"), [("bob", "has no role"), ("eve", "verified"), ("nameless", "doesn&#39;t say who")]
)
def test_who_has_no_right_to_come_in_is_told_why(person: Person, user: str, says: str) -> None:
    person.is_(user)
    reply = person.log_in()
    assert reply.status_code == 403
    assert says in reply.text
    assert person.bench.browse("/").status_code == 303


def test_everybody_may_look_where_the_settings_say_so(person_with: Callable[..., Person]) -> None:
    person = person_with(roles={"*": "viewer", "ops": "operator"})
    person.is_("bob")
    person.log_in()
    assert person.bench.browse("/").json() == ["bob@example.com", ["viewer"], "oidc"]


def test_an_answer_counts_once_and_for_who_asked(person: Person) -> None:
    address = person.at_provider(person.leave())
    kept = dict(person.bench.client.cookies)
    person.bench.client.cookies.clear()
    assert person.come_back(address).status_code == 400
    person.leave()
    assert person.come_back(address).status_code == 503
    person.bench.client.cookies.clear()
    person.bench.client.cookies.update(kept)
    assert person.come_back(address).status_code == 303
    person.bench.client.cookies.update(kept)
    assert person.come_back(address).status_code == 503


def test_an_answer_without_a_login_opens_nothing(person: Person) -> None:
    for query in ("", "?code=x", "?code=x&state=", "?state=%ff&code=%00"):
        assert person.bench.browse(f"/login/callback{query}").status_code == 400
    person.leave()
    for query in ("?code=x", "?code=x&state=", "?state=y&code=x", "?state=%ff&code=%00"):
        assert person.bench.browse(f"/login/callback{query}").status_code == 503


def test_keys_that_the_provider_changes_are_fetched(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.keys.store.INTERVAL", 0.0)
    assert person.log_in().status_code == 303
    person.is_("ada", "rotated")
    assert person.log_in().status_code == 303


@pytest.mark.parametrize("fault", ["away", "renamed"])
def test_a_provider_that_is_away_or_somebody_else_is_a_clear_page(person: Person, fault: str) -> None:
    person.is_("ada", fault)
    reply = person.bench.browse("/login/oidc")
    assert reply.status_code == 503
    assert "The login failed" in reply.text
    person.is_("ada")
    assert person.log_in().status_code == 303


def test_a_wrong_secret_is_a_clear_page(person_with: Callable[..., Person]) -> None:
    reply = person_with(secret="wrong").log_in()
    assert reply.status_code == 503
    assert "invalid_client" in reply.text


def test_another_provider_in_the_settings_ends_the_logins(
    person: Person, person_with: Callable[..., Person]
) -> None:
    person.log_in()
    cookies = dict(person.bench.client.cookies)
    other = person_with(issuer="http://127.0.0.1:1")
    other.bench.client.cookies.update(cookies)
    assert other.bench.browse("/").status_code == 303


def test_logins_at_the_provider_are_limited(person: Person) -> None:
    replies = [person.bench.browse("/login/oidc").status_code for _ in range(11)]
    assert replies == [303] * 10 + [429]


async def test_keys_that_cannot_be_fetched_are_a_clear_answer() -> None:
    asked: list[str] = []

    async def away(ask: Ask) -> Reply:
        asked.append(ask.url)
        raise FetchError("away")

    key = RSAKey.generate_key(2048, {"kid": "one"})
    token = jwt.encode({"alg": "RS256", "kid": "one"}, {"sub": "ada"}, key)
    source = KeySource("http://idp.example/jwks", KeyStore(away))
    for _ in range(3):
        with pytest.raises(ProviderError, match=r"keys of idp\.example can't be fetched"):
            await source.claims(token)
    assert len(asked) == 1


async def test_tokens_that_come_together_ask_for_the_keys_once() -> None:
    key, asked = RSAKey.generate_key(2048, {"kid": "one"}), list[Ask]()

    async def fetch(ask: Ask) -> Reply:
        asked.append(ask)
        return Reply(200, json.dumps({"keys": [key.as_dict(private=False)]}).encode())

    source = KeySource("http://idp.example/jwks", KeyStore(fetch))
    named, plain = ({"alg": "RS256", "kid": "one"}, {"alg": "RS256"})
    tokens = [jwt.encode(header, {"sub": "ada"}, key) for header in (named, plain)]
    for claims in await asyncio.gather(*(source.claims(token) for token in tokens)):
        assert claims == {"sub": "ada"}
    assert [(one.public, one.plain) for one in asked] == [(False, True)]
    other = jwt.encode({"alg": "RS256"}, {"sub": "eve"}, RSAKey.generate_key(2048))
    for token in (other, "", "a.b.c", "\ud800", "x" * 20_000):
        with pytest.raises(ProviderError, match="signed"):
            await source.claims(token)
    assert len(asked) == 1
