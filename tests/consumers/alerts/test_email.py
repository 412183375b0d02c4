"""E-mails through a real mail server on this machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from consumers.alerts.budget import Refused, Taken
from consumers.alerts.channels.email import email_of, send
from consumers.alerts.channels.posting import Way
from consumers.alerts.state import Attempt, Message
from consumers.alerts.wording import document
from tidemill.kernel.settings.alerts import EmailSettings

if TYPE_CHECKING:
    from tests.consumers.alerts.conftest import Watch

WAY = Way({"PASSWORD": "tide"}, 5.0)


class Handler:
    """Keeps what it is given; `answers` are the next replies to DATA."""

    def __init__(self) -> None:
        self.kept: list[Envelope] = []
        self.answers: list[str] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        if self.answers:
            return self.answers.pop(0)
        self.kept.append(envelope)
        return "250 kept"

    @property
    def mails(self) -> list[Any]:
        return [message_from_bytes(bytes(one.content or b""), policy=policy.default) for one in self.kept]


def login(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: LoginPassword) -> AuthResult:
    known = (given.login, given.password) == (b"mill", b"tide")
    return AuthResult(success=known, handled=False)


@asynccontextmanager
async def serving(handler: Handler, **given: Any) -> AsyncIterator[int]:
    """Run a mail server; return its port."""
    implicit = given.pop("implicit", None)

    def made() -> SMTP:
        return SMTP(handler, hostname="smtp.test", **given)

    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0, ssl=implicit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def settings(port: int, **given: Any) -> EmailSettings:
    facts = {"host": "localhost", "port": port, "sender": "mill@example.com", "to": ["ops@example.com"]}
    return EmailSettings(**{**facts, "tls": "none", **given})


def mail(found: EmailSettings) -> EmailMessage:
    message = Message(id="alr_7", at=0.0, status="test", title="this is a test")
    return email_of(found, document(message, Attempt(), "", ""), "[Tidemill] this is a test", "", 0.0)


async def test_a_mail_arrives(handler: Handler) -> None:
    async with serving(handler) as port:
        found = settings(port, to=["ops@example.com", "night@example.com"])
        assert await send(found, WAY, mail(found)) == Taken()
    [envelope], [read] = handler.kept, handler.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == (
        "mill@example.com",
        ["ops@example.com", "night@example.com"],
    )
    assert (read["Subject"], read["Message-ID"]) == ("[Tidemill] this is a test", "<alr_7@example.com>")
    assert read.get_content().splitlines() == ["this is a test"]


async def test_starttls_is_demanded_and_its_certificate_verified(
    handler: Handler, certificate: Path, server_tls: ssl.SSLContext
) -> None:
    async with serving(handler, tls_context=server_tls, require_starttls=True) as port:
        found = settings(port, tls="starttls", ca=certificate)
        assert await send(found, WAY, mail(found)) == Taken()
        other = settings(port, tls="starttls", ca=certificate, host="127.0.0.1")
        refused = await send(other, WAY, mail(other))
        stranger = settings(port, tls="starttls")
        unknown = await send(stranger, WAY, mail(stranger))
    async with serving(handler) as port:
        without = settings(port, tls="starttls", ca=certificate)
        plain = await send(without, WAY, mail(without))
    assert all(isinstance(one, Refused) and "TLS failed" in one.problem for one in (refused, unknown))
    assert isinstance(plain, Refused)
    assert "STARTTLS" in plain.problem
    assert len(handler.kept) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it can't know that it is there
async def test_tls_from_the_start_with_a_login(
    handler: Handler, certificate: Path, server_tls: ssl.SSLContext
) -> None:
    given = {"implicit": server_tls, "authenticator": login, "auth_required": True, "auth_require_tls": False}
    async with serving(handler, **given) as port:
        found = settings(port, tls="tls", ca=certificate, user="mill", password="env:PASSWORD")
        assert await send(found, WAY, mail(found)) == Taken()
        wrong = await send(found, Way({"PASSWORD": "ebb"}, 5.0), mail(found))
    assert wrong == Refused("localhost doesn't take the login (535)", again=True)
    assert len(handler.kept) == 1


@pytest.mark.parametrize("answer", ["451 later", "550 <secret words> never"])
async def test_what_a_server_refuses_is_tried_again_or_not(handler: Handler, answer: str) -> None:
    handler.answers = [answer]
    async with serving(handler) as port:
        found = settings(port)
        refused = await send(found, WAY, mail(found))
    assert isinstance(refused, Refused)
    assert refused.again is answer.startswith("4")
    assert "secret words" not in refused.problem


async def test_nobody_there() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    found = settings(port)
    refused = await send(found, WAY, mail(found))
    assert isinstance(refused, Refused)
    assert refused.problem.startswith("localhost can't be reached")


DRIP: list[Callable[[asyncio.StreamWriter], None]] = [
    lambda _: None,
    lambda writer: writer.write(b"220-not yet\r\n"),
    lambda writer: writer.write(b"220 hello\r\n"),
]


@pytest.mark.parametrize("drip", DRIP, ids=["silence", "an endless greeting", "no answer"])
async def test_a_server_that_hangs_is_left_in_time(drip: Callable[[asyncio.StreamWriter], None]) -> None:
    gone = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            drip(writer)
            while await reader.read(100):
                continue
        finally:
            writer.close()
            gone.set()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    found = settings(server.sockets[0].getsockname()[1])
    refused = await send(found, Way({}, 0.2), mail(found))
    assert refused == Refused("localhost didn't take it within 0.2 s")
    await asyncio.wait_for(gone.wait(), 10)  # the connection has ended, and the thread with it
    server.close()


@pytest.mark.integration
async def test_an_alert_goes_by_mail_and_says_what_was_held_back(watch: Watch, handler: Handler) -> None:
    async with serving(handler) as port:
        night = {
            "host": "127.0.0.1",
            "port": port,
            "tls": "none",
            "sender": "a@b.example",
            "to": ["c@d.example"],
        }
        rules = {"each": {"kind": "run_failed", "threshold": 1, "window": 1}}
        given = {"email": {"night": night}, "webhook": {}, "per_hour": 1, "defaults": False, "rules": rules}
        async with watch.running(watch.settings(alerts=given)):
            await watch.bury("deploy\r\nBcc: evil@example.com", error="it\r\n.\r\nleaks")
            await watch.until(lambda state: "night" in state.channels and state.channels["night"].sent == 1)
            await watch.bury("ship")
            await watch.until(lambda state: state.channels["night"].held_back == 1)
        later = watch.settings(alerts={**given, "per_hour": 2})
        async with watch.running(later):
            await watch.until(lambda state: state.channels["night"].sent == 2)
    first, second = handler.mails
    assert first["Subject"] == "[Tidemill warning] a run of deploy Bcc: evil@example.com failed"
    assert first["Bcc"] is None
    assert "ValueError: it . leaks" in first.get_content()
    assert second["Subject"] == "[Tidemill] messages were held back"
    assert "1 earlier message did not reach this channel since" in second.get_content()
