"""Pages of events, deliveries and the quarantine, with what strangers may have sent."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.gateway.http.crew import engine
from tests.patience import PATIENCE
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import Names

if TYPE_CHECKING:
    from conftest import BrokerProcess, House

pytestmark = pytest.mark.integration
EVIL = b'{"action":"<script>alert(1)</script>","text":"' + b"x" * 40_000 + b'"}'
PAGE = {"accept": "text/html"}


@pytest.fixture
async def watched(
    broker: BrokerProcess,
    names: Names,
    settled: Callable[..., Settings],
    housed: Callable[..., Any],
    tmp_path: Path,
) -> AsyncIterator[House]:
    """A house whose history is written."""
    settings = settled(broker.url, names, history=f'url = "sqlite:///{tmp_path}/history.db"')
    async with housed(settings) as house, engine(house, "router", "history", settings=settings):
        yield house


async def look(house: House, path: str, *words: str) -> str:
    """Return a page once it shows some words."""
    url = f"http://{house.gateway.control_address}{path}"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await house.client.get(url, headers=PAGE)
                if answer.status_code == 200 and all(word in answer.text for word in words):
                    return answer.text
                await asyncio.sleep(0.05)
    raise AssertionError(f"{words} never stood on {path}: {answer.status_code} {answer.text[:2000]}")


async def post(house: House, body: bytes, headers: dict[str, str]) -> httpx.Response:
    url = f"http://{house.gateway.public_address}/webhooks/github"
    return await house.client.post(url, content=body, headers=headers)


async def press(house: House, page: str, action: str) -> httpx.Response:
    """Send the form of a page as a browser does."""
    address = f"http://{house.gateway.control_address}"
    (field,) = re.findall(
        rf'action="{re.escape(action)}"><input type="hidden" name="(.*?)" value="(.*?)">', page
    )
    headers = PAGE | {"origin": address}
    return await house.client.post(f"{address}{action}", data=dict([field]), headers=headers)


async def test_an_event_is_listed_shown_and_replayed(
    watched: House, signed: Callable[..., dict[str, str]]
) -> None:
    answer = await post(watched, EVIL, signed(EVIL, guid="guid/with ?odd&name"))
    assert answer.status_code == 202, answer.text
    listed = await look(watched, "/events", "github.zen", "unrouted")
    (path,) = set(re.findall(r'href="(/events/[^"]+)"', listed))
    page = await look(watched, path, "github.zen", "&lt;script&gt;alert(1)")
    assert "<script>alert" not in page
    assert len(page) < 100_000
    assert "sha256=" not in page, "signatures are redacted"
    sent = await press(watched, page, f"{path}/replay")
    assert (sent.status_code, sent.headers["location"][:15]) == (303, "/events/replay-"), sent.text
    await look(watched, sent.headers["location"], "a replay of", path)
    assert "No event fits" in await look(watched, "/events?type=github.push", "All events")


async def test_deliveries_are_listed_by_verdict(
    watched: House, signed: Callable[..., dict[str, str]]
) -> None:
    good, bad = signed(b"{}", guid="good"), signed(b"{}", guid="bad", secret="<b>wrong</b>")
    assert (await post(watched, b"{}", good)).status_code == 202
    assert (await post(watched, b"{}", good)).json()["status"] == "duplicate"
    assert (await post(watched, b"{}", bad)).status_code == 401
    await look(watched, "/deliveries", "accepted</span>", "duplicate</span>", "signature_mismatch")
    refused = await look(watched, "/deliveries?verdict=refused", "signature_mismatch")
    assert "duplicate</span>" not in refused
    assert "No delivery fits" in await look(watched, "/deliveries?source=nobody", "All deliveries")


async def test_the_quarantine_shows_what_is_wrong_and_lets_go(
    watched: House, signed: Callable[..., dict[str, str]]
) -> None:
    body = b'{"action":"opened","number":"<i>seven</i>"}'
    answer = await post(watched, body, signed(body, event="pull_request", guid="odd"))
    assert answer.json()["status"] == "quarantined"
    listed = await look(watched, "/quarantine", "github.pull_request")
    (path,) = set(re.findall(r'href="(/quarantine/[^"]+)"', listed))
    page = await look(watched, path, "What is wrong", "&lt;i&gt;seven")
    assert "<i>seven" not in page
    assert "sha256=" not in page, "signatures are redacted"
    sent = await press(watched, page, f"{path}/release")
    assert (sent.status_code, sent.headers["location"]) == (303, "/quarantine"), sent.text
    await look(watched, "/quarantine", "It is empty.")
    await look(watched, "/events", "github.pull_request.opened")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/events/nobody", 404),
        ("/events/%3Cscript%3E", 404),
        ("/quarantine/nobody", 404),
        ("/events?cursor=forged", 422),
        ("/events?since=yesterday", 422),
        ("/deliveries?verdict=lost", 422),
        ("/quarantine?before=x", 422),
        ("/events?type=" + "x" * 2000, 422),
    ],
)
async def test_what_isnt_there_or_cant_be_read_is_said_on_a_page(
    watched: House, path: str, status: int
) -> None:
    await look(watched, "/events", "No event has arrived")
    answer = await watched.client.get(f"http://{watched.gateway.control_address}{path}", headers=PAGE)
    assert answer.status_code in {status, 400}, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert "Traceback" not in answer.text
    assert "<script>" not in answer.text


async def test_a_form_without_its_token_is_refused(
    watched: House, signed: Callable[..., dict[str, str]]
) -> None:
    await post(watched, b"{}", signed(b"{}", guid="kept"))
    await look(watched, "/events", "github.zen")
    address = f"http://{watched.gateway.control_address}"
    answer = await watched.client.post(f"{address}/events/kept/replay", headers=PAGE | {"origin": address})
    assert answer.status_code == 403
