"""`tidemill destinations`: who is served, who was disabled, and whether one answers."""

from __future__ import annotations

import asyncio
import base64
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks.webhooks import Webhook

from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.services.destinations import Disabled
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from conftest import Call, Mill

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


class Receiver(http.server.HTTPServer):
    """Answers with `status`, and keeps what came."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[dict[str, str], bytes]] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, name="receiver", daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def settings(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "tidemill.toml"
    file.write_text(
        f'[destinations.crm]\nurl = "http://127.0.0.1:{receiver.server_port}/in"\non = ["crm.>"]\n'
        f'allow_private = true\nsecrets = ["{SECRET}"]\n'
    )
    return file


@pytest.mark.usefixtures("settings")
def test_a_sample_is_posted_and_signed(call: Call, receiver: Receiver) -> None:
    row = call("destinations", "test", "crm", "--json").json()
    assert (row["taken"], row["status"], row["problem"]) == (True, 200, None)
    [(headers, body)] = receiver.received
    assert Webhook(SECRET).verify(body, headers) == {"test": True}
    assert headers["ce-type"] == "tidemill.test"


def test_what_isnt_taken_says_why_and_ends_with_1(call: Call, receiver: Receiver, settings: Path) -> None:
    receiver.status = 404
    result = call("destinations", "test", "crm")
    assert result.code == 1
    assert "answered 404 Not Found" in result.out
    settings.write_text(settings.read_text().replace("allow_private = true\n", ""))
    result = call("destinations", "test", "crm")
    assert result.code == 1
    assert "its address 127.0.0.1 isn't public" in result.out
    assert SECRET not in result.out + result.err
    assert call("destinations", "test", "other").code == 1
    assert len(receiver.received) == 1


async def disable(folder: Path) -> None:
    settings = Settings.load(folder / "tidemill.toml", {})
    async with open_broker(settings, name="test") as broker:
        await Disabled(broker.destinations).disable("crm", "crm answered 410 Gone")


@pytest.mark.integration
def test_those_that_are_gone_are_shown_and_enabled(call: Call, mill: Mill, way: tuple[str, ...]) -> None:
    asyncio.run(disable(mill.folder))
    shown = call(*way, "destinations", "list")
    assert "disabled since" in shown.out
    assert "crm answered 410 Gone" in shown.out
    assert "token-in-the-path" not in shown.out
    [row] = call(*way, "destinations", "list", "--json").json()
    assert (row["name"], row["task"], row["on"], row["concurrency"]) == ("crm", "forward.crm", ["crm.>"], 10)
    assert call(*way, "destinations", "enable", "crm", "--json").json() == {"enabled": "crm"}
    assert call(*way, "destinations", "list", "--json").json()[0]["disabled"] is None
    again, unknown = (call(*way, "destinations", "enable", name) for name in ("crm", "other"))
    assert (again.code, unknown.code) == (1, 1)
    assert "isn't disabled" in again.err
    assert "no destination 'other'" in unknown.err


@pytest.mark.usefixtures("project")
def test_the_doctor_looks_at_their_secrets(call: Call, project: Path) -> None:
    file = project / "tidemill.toml"
    file.write_text(file.read_text().replace('on = ["crm.>"]', 'on = ["crm.>"]\nsecrets = ["env:NOT_THERE"]'))
    assert "destinations.crm.secrets: the secret env:NOT_THERE can't be resolved" in call("doctor").out
