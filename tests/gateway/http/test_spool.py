"""The spool on a whole gateway: the broker dies and comes back, senders notice nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.patience import until
from tidemill.kernel.errors import BrokerUnavailableError, SettingsError
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.records import scan
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from conftest import BrokerProcess, House

    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
SPOOL = 'spool = "1MiB"\n'
BODY = b'{"zen": "Keep it logically awesome."}'
RECIPE = {
    "verify": {"signature": {"at": "header:X-Hub-Signature-256", "prefix": "sha256="}},
    "event": {"split": "body:events", "type": "{item:action}"},
}
MAIL = f"recipe = '{json.dumps(RECIPE)}'\nsecrets = [\"It's a Secret to Everybody\"]\n"


async def stored(bus: Bus, stream: str = "EVENTS") -> list[dict[str, Any]]:
    """Return the facts of everything in a stream, in its order."""
    subject = bus.names.subject(stream.lower(), ">")
    return [
        orjson.loads(record.body.partition(b"\n")[0])
        async for record in scan(bus, bus.names.stream(stream), subject)
    ]


async def drained(house: House) -> list[dict[str, Any]]:
    """Wait until the spool is empty, and return the events."""
    async with asyncio.timeout(30):
        while (await ready(house))["spool"]["records"]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
    return await stored(house.broker.bus)


async def ready(house: House) -> dict[str, Any]:
    answer: dict[str, Any] = (await house.client.get(f"http://{house.public}/readyz")).json()
    return answer


async def gone(house: House) -> None:
    async with asyncio.timeout(10):
        while house.broker.bus.connected:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


@pytest.fixture
def settings(own_broker: BrokerProcess, names: Names, settled: Callable[..., Settings]) -> Settings:
    return settled(own_broker.url, names, gateway=SPOOL, **{"sources.mail": MAIL})


async def test_an_outage_is_bridged(
    own_broker: BrokerProcess, settings: Settings, housed: Callable[..., Any]
) -> None:
    async with housed(settings) as house:
        first = await house.deliver(BODY, guid="first")
        own_broker.kill()
        await gone(house)
        replies = [await house.deliver(BODY, guid=f"away-{number}") for number in range(20)]
        assert {(reply.status, reply.json()["status"]) for reply in replies} == {(202, "accepted")}
        assert replies[3].headers["tidemill-event-id"] == "away-3"
        again = await house.deliver(BODY, guid="away-3")
        assert (again.status, again.json()["status"]) == (202, "duplicate")
        assert (await house.deliver(BODY, guid="forged", secret="wrong")).status == 401
        unsound = await house.deliver(b'{"zen": NaN}', guid="unsound")
        assert (unsound.status, unsound.json()["status"]) == (202, "quarantined")
        batch = b'{"events": [{"action": "sent"}, {"action": "read"}, {"no": "action"}]}'
        many = await house.deliver(batch, "/webhooks/mail")
        assert [one["status"] for one in many.json()["events"]] == ["accepted", "accepted", "quarantined"]
        large = await house.deliver(b'{"zen": "' + b"x" * 200_000 + b'"}', guid="large")
        assert large.json()["status"] == "accepted"
        told = await ready(house)
        assert (told["status"], told["problems"], told["spool"]["records"]) == ("ready", {}, 23)
        metrics = house.gateway.metrics.text().decode()
        assert "tidemill_spool_records 23.0" in metrics
        assert "tidemill_spool_taken_total 23.0" in metrics
        own_broker.start()
        events = await drained(house)
        ids = [event["id"] for event in events]
        assert ids[:21] == ["first", *(f"away-{number}" for number in range(20))]
        assert ids[-1] == "large"
        assert [event["type"] for event in events[21:23]] == ["mail.sent", "mail.read"]
        assert len(ids) == 24
        quarantined = await stored(house.broker.bus, "QUARANTINE")
        assert [one["quarantine"]["code"] for one in quarantined] == ["not_finite", "missing_type"]
        assert (await house.deliver(BODY, guid="away-3")).json()["status"] == "duplicate"
        assert (await house.deliver(BODY, guid="after")).json()["status"] == "accepted"
        assert (await ready(house))["spool"]["drained"] == 23
        assert first.json()["status"] == "accepted"


async def test_a_gateway_starts_and_serves_while_the_broker_is_away(
    own_broker: BrokerProcess, settings: Settings, housed: Callable[..., Any]
) -> None:
    own_broker.kill()
    with pytest.raises(BrokerUnavailableError):
        async with open_broker(settings, name="impatient"):
            pass
    for part in range(2):
        async with housed(settings, early=True) as house:
            for number in range(5):
                reply = await house.deliver(BODY, guid=f"{part}-{number}")
                assert reply.json()["status"] == "accepted"
            assert (await house.deliver(BODY, guid="0-0")).json()["status"] == "duplicate"
            assert (await ready(house))["status"] == "ready"
            if part:
                own_broker.start()
                events = await drained(house)
                assert [event["id"] for event in events] == [f"{p}-{n}" for p in range(2) for n in range(5)]
                await until(lambda: house.broker.prepared)  # all that stands there, not the stream alone
                assert (await house.deliver(BODY, guid="after")).json()["status"] == "accepted"
                assert (await ready(house))["problems"] == {}


async def test_a_full_spool_answers_503(
    own_broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    async with housed(settled(own_broker.url, names, gateway='spool = "64KiB"\n')) as house:
        own_broker.kill()
        await gone(house)
        body = b'{"zen": "' + b"x" * 5000 + b'"}'
        replies = [await house.deliver(body, guid=str(number)) for number in range(20)]
        taken = [reply.status for reply in replies].count(202)
        assert 0 < taken < 20
        assert {reply.status for reply in replies[taken:]} == {503}
        assert replies[-1].headers["retry-after"]
        own_broker.start()
        assert len(await drained(house)) == taken


async def test_internal_services_publish_into_it_too(
    own_broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    key = create_key()
    keys = f'keys = [{{ name = "shop", hash = "{hash_key(key)}" }}]\n'
    async with housed(settled(own_broker.url, names, gateway=SPOOL, events=keys)) as house:
        own_broker.kill()
        await gone(house)
        event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid", "data": {"a": 1}}
        kind = "application/cloudevents-batch+json"
        answer = await house.client.post(
            f"http://{house.public}/events",
            content=json.dumps([event, {**event, "id": "2"}, event]),
            headers={"content-type": kind, "authorization": f"Bearer {key}"},
        )
        assert answer.status_code == 202
        assert [one["status"] for one in answer.json()["events"]] == ["accepted", "accepted", "duplicate"]
        own_broker.start()
        assert [one["id"] for one in await drained(house)] == ["1", "2"]


async def test_a_broker_that_does_not_answer_is_bridged_too(
    own_broker: BrokerProcess, settings: Settings, housed: Callable[..., Any]
) -> None:
    async with housed(settings) as house:
        own_broker.signal(signal.SIGSTOP)
        try:
            replies = await asyncio.gather(*(house.deliver(BODY, guid=str(number)) for number in range(10)))
            assert {reply.status for reply in replies} == {202}
        finally:
            own_broker.signal(signal.SIGCONT)
        events = await drained(house)
        assert sorted(event["id"] for event in events) == sorted(map(str, range(10)))


async def test_two_gateways_share_no_spool(
    own_broker: BrokerProcess, settings: Settings, housed: Callable[..., Any]
) -> None:
    async with housed(settings) as house:
        with pytest.raises(SettingsError, match="another gateway"):
            async with housed(settings):
                pass
        assert (await house.deliver(BODY)).status == 202
    assert own_broker.url


async def test_windows_of_a_source_are_kept_across_an_outage(
    own_broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    source = MAIL.replace('"split": "body:events", ', "").replace("{item:action}", "{body:action}")
    source += 'deduplicate = "body"\nduplicate_window = "1h"\n'
    body = b'{"action": "beat"}'
    async with housed(settled(own_broker.url, names, gateway=SPOOL, **{"sources.mail": source})) as house:

        async def beat(text: bytes = body) -> str:
            return str((await house.deliver(text, "/webhooks/mail")).json()["status"])

        assert [await beat(), await beat()] == ["accepted", "duplicate"]
        own_broker.kill()
        await gone(house)
        # Nobody can say now that it came before; the broker finds that out.
        assert await beat() == "accepted"
        assert await beat(b'{"action": "other"}') == "accepted"
        assert await beat() == "duplicate"
        own_broker.start()
        assert [event["type"] for event in await drained(house)] == ["mail.beat", "mail.other"]
        assert [await beat(), await beat(b'{"action": "other"}')] == ["duplicate", "duplicate"]
