"""The whole gateway on a real broker, over sockets."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.ingress import Ingress
from gateway.listener import bind
from gateway.server import open_gateway
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.messages import Message
from tidemill.kernel.jetstream.replies import SWEEP
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.services.events import Events
from tidemill.kernel.settings import live as settings_live
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.values import Address
from tidemill.kernel.subjects import Names

if TYPE_CHECKING:
    from conftest import BrokerProcess, Connect, House

pytestmark = pytest.mark.integration

BODY = b'{"zen": "Speak like a human."}'
FROZEN_LIMIT = 2.0
"""Seconds within which a sender is told to come again: what the documents promise."""
PROCESS = """
import asyncio, pathlib, sys
from gateway.server import serve
from tidemill.kernel.settings.model import Settings
asyncio.run(serve(Settings.load(pathlib.Path(sys.argv[1]))))
"""


@pytest.fixture
async def own_house(
    own_broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> AsyncIterator[House]:
    """A house on a broker that may be hurt."""
    async with housed(settled(own_broker.url, names)) as house:
        yield house


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """For how long each request lets its questions to the broker wait, in seconds, in their order."""
    requests: list[list[float]] = []
    mine: ContextVar[list[float] | None] = ContextVar("mine", default=None)
    serve, ask = Ingress.__call__, Bus._ask

    async def served(self: Ingress, *request: Any) -> None:
        requests.append([])
        mine.set(requests[-1])
        await serve(self, *request)

    async def noted(self: Bus, subject: str, body: bytes, headers: Any, timeout: float) -> Message:
        if (waits := mine.get()) is not None:
            waits.append(timeout)
        return await ask(self, subject, body, headers, timeout)

    monkeypatch.setattr(Ingress, "__call__", served)
    monkeypatch.setattr(Bus, "_ask", noted)
    return requests


async def test_of_two_deliveries_at_once_one_is_accepted_and_one_a_duplicate(house: House) -> None:
    for number in range(10):
        replies = await asyncio.gather(*(house.deliver(BODY, guid=f"d{number}") for _ in range(2)))
        assert sorted(reply.json()["status"] for reply in replies) == ["accepted", "duplicate"]
        assert {reply.json()["id"] for reply in replies} == {f"d{number}"}
    events = await Events(house.broker.bus, house.broker.blobs).list()
    assert sorted(event.id for event in events) == [f"d{number}" for number in range(10)]


async def test_an_event_stands_on_the_broker_with_the_bytes_as_they_came(house: House) -> None:
    body = b'{ "zen" :\t"\xc3\xa9",\n "n": 1.0 }'
    await house.deliver(body, guid="raw", path="/webhooks/github/acme")
    (event,) = await Events(house.broker.bus, house.broker.blobs).list(source="github/acme")
    assert event.raw == body
    assert (event.facts["id"], event.facts["type"], event.facts["source"]) == (
        "raw",
        "github.zen",
        "github/acme",
    )
    assert event.facts["headers"]["x-github-event"] == "zen"


async def test_a_large_body_travels_as_a_blob(house: House) -> None:
    body = b'{"text": "' + b"x" * 3_000_000 + b'"}'
    assert (await house.deliver(body, guid="large")).json()["status"] == "accepted"
    assert (await house.deliver(body, guid="large")).json()["status"] == "duplicate"
    events = Events(house.broker.bus, house.broker.blobs)
    (event,) = await events.list()
    assert (event.raw, await events.body(event)) == (b"", body)


async def test_a_full_stream_is_503_and_nothing_is_lost(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    async with housed(settled(broker.url, names, events='max_bytes = "16KiB"')) as house:
        statuses: list[int] = []
        while len(statuses) < 100 and 503 not in statuses:
            reply = await house.deliver(b'{"text": "' + b"x" * 1000 + b'"}')
            statuses.append(reply.status)
        assert reply.json()["type"] == "urn:tidemill:problem:storage-full"
        assert reply.headers["retry-after"]
        events = await Events(house.broker.bus, house.broker.blobs).list()
        assert len(events) == statuses.count(202) > 0
        ready = await house.ask("../../readyz")
        assert (ready.status_code, *ready.json()["problems"]) == (
            503,
            f"stream {names.stream('EVENTS')}",
            "events",
        )


@pytest.mark.crash
async def test_a_killed_broker_is_503_at_once_and_recovery_needs_nobody(
    own_broker: BrokerProcess, own_house: House, asked: list[list[float]]
) -> None:
    assert (await own_house.deliver(BODY, guid="before")).status == 202
    own_broker.kill()
    reply = await own_house.deliver(BODY, guid="meanwhile")
    assert [sum(waits) for waits in asked if sum(waits) + SWEEP >= FROZEN_LIMIT] == []
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    ready = await own_house.client.get(f"http://{own_house.public}/readyz")
    assert (ready.status_code, ready.json()["problems"]) == (503, {"broker": "not connected"})
    own_broker.start()
    async with asyncio.timeout(20):
        while (await own_house.deliver(BODY, guid="meanwhile")).status != 202:  # noqa: ASYNC110 - as a sender would
            await asyncio.sleep(0.05)
    assert (await own_house.deliver(BODY, guid="before")).json()["status"] == "duplicate"


@pytest.mark.crash
@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_frozen_broker_is_503_within_two_seconds(
    own_broker: BrokerProcess, own_house: House, asked: list[list[float]], size: int
) -> None:
    """Held by what each request waits for, not by the clock: a loaded machine is late with everything."""
    own_broker.signal(signal.SIGSTOP)
    try:
        replies = await asyncio.gather(
            *(own_house.deliver(b'{"zen": "' + b"x" * size + b'"}') for _ in range(8))
        )
        assert {reply.status for reply in replies} == {503}
        assert [len(waits) for waits in asked] == [1] * 8
        assert max(sum(waits) for waits in asked) + SWEEP < FROZEN_LIMIT
    finally:
        own_broker.signal(signal.SIGCONT)


async def test_a_quarantined_delivery_is_shown_with_its_place_and_released(house: House) -> None:
    body = b'{"ref": "refs/heads/main", "commits": [{"id": NaN}]}'
    reply = await house.deliver(body, event="push", guid="bad-push")
    assert reply.json() == {"id": "bad-push", "type": "github.push", "status": "quarantined"}
    shown = (await house.ask("quarantine/bad-push")).json()
    assert (shown["kind"], shown["reason"]["code"], shown["body"]) == (
        "delivery",
        "not_finite",
        body.decode(),
    )
    assert [entry["id"] for entry in (await house.ask("quarantine")).json()["quarantine"]] == ["bad-push"]
    assert (await house.ask("events/bad-push")).status_code == 404
    released = await house.ask("quarantine/bad-push/release", {})
    assert (released.status_code, released.json()["duplicate"]) == (202, False)
    assert (await house.ask("quarantine/bad-push")).status_code == 404
    raw = await house.ask("events/bad-push?raw=1")
    assert raw.content == body


async def test_a_schema_that_does_not_fit_names_the_json_path(house: House) -> None:
    reply = await house.deliver(b'{"ref": 7}', event="push", guid="misfit")
    assert reply.json()["status"] == "quarantined"
    reason = (await house.ask("quarantine/misfit")).json()["reason"]
    assert (reason["code"], reason["path"][0]) == ("schema", "$")


async def test_duplicates_are_recorded_with_their_event(house: House) -> None:
    for _ in range(2):
        await house.deliver(BODY, guid="twice")
    async with asyncio.timeout(10):
        while not (found := (await house.ask("records")).json()["records"]):  # noqa: ASYNC110 - as a user would
            await asyncio.sleep(0.02)
    assert [(one["kind"], one["id"]) for one in found] == [("duplicate", "twice")]
    verdicts = (await house.ask("events/twice")).json()["verdicts"]
    assert [one["kind"] for one in verdicts] == ["duplicate"]


async def test_an_event_is_replayed_under_a_new_id(house: House) -> None:
    await house.deliver(BODY, guid="old")
    replayed = (await house.ask("events/old/replay", {})).json()
    assert (replayed["replayof"], replayed["id"] != "old") == ("old", True)
    listed = (await house.ask("events?source=github&type=github.*&limit=1")).json()["events"]
    assert [event["id"] for event in listed] == [replayed["id"]]
    older = (await house.ask(f"events?before={listed[0]['seq']}")).json()["events"]
    assert [event["id"] for event in older] == ["old"]
    assert (await house.ask(f"events/{replayed['id']}")).json()["data"] == {"zen": "Speak like a human."}


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=201", "before=-1", "type=a..b"])
async def test_parameters_are_checked(house: House, query: str) -> None:
    reply = await house.ask(f"events?{query}")
    assert (reply.status_code, reply.json()["type"]) == (422, "urn:tidemill:problem:payload")


async def test_a_changed_secret_counts_without_a_restart(  # noqa: PLR0913, PLR0917 - fixtures
    broker: BrokerProcess,
    names: Names,
    settled: Callable[..., Settings],
    housed: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings_live, "CHECK_SECONDS", 0.0)
    file = tmp_path / "secret"
    file.write_text("first secret\n")
    async with housed(settled(broker.url, names, secret=f"file:{file}")) as house:
        assert (await house.deliver(BODY, secret="first secret")).status == 202
        file.write_text("second, longer secret\n")
        assert (await house.deliver(BODY, secret="second, longer secret")).status == 202
        assert (await house.deliver(BODY, secret="first secret")).status == 401


async def test_an_address_in_use_is_named_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f":{port} can't be listened on") as caught:
            bind(Address("127.0.0.1", port), "gateway.listen")
    assert "another" in caught.value.hint


async def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"no address|can't be listened"):
        bind(Address("203.0.113.1", 0), "control.listen")


async def test_metrics_and_both_documents_can_be_fetched(house: House) -> None:
    await house.deliver(BODY)
    root = f"http://{house.gateway.control_address}"
    text = (await house.client.get(f"{root}/metrics")).text
    assert 'tidemill_webhook_requests_total{source="github",verdict="accepted"} 1.0' in text
    assert "tidemill_broker_connected 1.0" in text
    private = (await house.client.get(f"{root}/openapi.json")).json()
    public = (await house.client.get(f"http://{house.public}/openapi.json")).json()
    assert "/api/v1/tasks/{task}/trigger" in private["paths"]
    assert not [path for path in public["paths"] if path.startswith("/api")]
    assert (await house.client.get(f"http://{house.public}/api/v1/runs")).status_code == 404
    assert (await house.client.get(f"http://{house.public}/metrics")).status_code == 404


async def test_the_process_says_where_it_listens_and_finishes_what_is_in_flight(  # noqa: PLR0913, PLR0917 - fixtures
    broker: BrokerProcess,
    names: Names,
    settled: Callable[..., Settings],
    connect: Connect,
    http_request: Callable[..., bytes],
    signed: Callable[..., dict[str, str]],
) -> None:
    settings = settled(broker.url, names)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, str(settings.inputs.file), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            lines = [(await process.stdout.readline()).decode() for _ in range(2)]
        public, control = (line.rstrip().rpartition("http://")[2] for line in lines)
        assert (lines[0].split()[0], lines[1].split()[0]) == ("public", "control")
        host, _, port = public.rpartition(":")
        wire = await connect(Address(host, int(port)))
        whole = http_request("/webhooks/github", BODY, signed(BODY))
        await wire.send(whole[:-5])
        # The health check's answer tells that the half request before it has arrived too.
        other = await connect(Address(host, int(control.rpartition(":")[2])))
        await other.send(http_request("/healthz", method="GET"))
        assert (await other.reply()).status == 200
        process.send_signal(signal.SIGTERM)
        await wire.send(whole[-5:])
        assert (await wire.reply()).status == 202
        assert await wire.at_end()
        async with asyncio.timeout(20):
            assert await process.stdout.read() == b""
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_the_ingress_is_told_nothing_of_starlette() -> None:
    """The hot path is a plain ASGI callable."""
    assert "starlette" not in sys.modules[Ingress.__module__].__dict__


@pytest.mark.parametrize("only", ["public", "control"])
async def test_one_listener_may_have_a_process_of_its_own(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], only: str
) -> None:
    settings = settled(broker.url, names)
    if only == "public":  # whose process doesn't mind what would be refused of the other one
        exposed = settings.control.model_copy(update={"listen": Address("0.0.0.0", 0)})
        settings = settings.model_copy(update={"control": exposed})
    async with (
        open_broker(settings, name="gateway") as opened,
        open_gateway(settings, opened, only) as gateway,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        assert set(gateway.addresses) == {only}
        url = f"http://{gateway.addresses[only]}"
        assert (await client.get(f"{url}/readyz")).status_code == 200
        api = await client.get(f"{url}/api/v1/runs")
        assert api.status_code == (404 if only == "public" else 200)
        webhook = await client.post(f"{url}/webhooks/github", content=b"{}")
        assert webhook.status_code == (401 if only == "public" else 404)
