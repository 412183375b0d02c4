from __future__ import annotations

import asyncio
import signal
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from tests import patience
from tidemill.kernel.errors import BrokerError, BrokerUnavailableError, StreamFullError, WrongSequenceError
from tidemill.kernel.jetstream.api import error_of
from tidemill.kernel.jetstream.bus import Bus, Message, Stored
from tidemill.kernel.jetstream.link import Login
from tidemill.kernel.subjects import Names

if TYPE_CHECKING:
    from conftest import BrokerProcess

EXPECT = "Nats-Expected-Last-Subject-Sequence"


async def make_stream(bus: Bus, **config: object) -> str:
    name = bus.names.stream("S")
    await bus.api(
        f"STREAM.CREATE.{name}", {"name": name, "subjects": [bus.names.subject("s", ">")], **config}
    )
    return name


async def until(bus: Bus, *, connected: bool) -> None:
    async with asyncio.timeout(20):
        while bus.connected is not connected:  # noqa: ASYNC110 - a state of nats-py without an event
            await asyncio.sleep(0.01)


async def test_publish_returns_where_the_message_stands(bus: Bus) -> None:
    stream = await make_stream(bus)
    subject = bus.names.subject("s", "a")
    assert await bus.publish(subject, b"one", headers={"Nats-Msg-Id": "1"}) == Stored(
        stream, 1, duplicate=False
    )
    assert await bus.publish(subject, b"one", headers={"Nats-Msg-Id": "1"}) == Stored(
        stream, 1, duplicate=True
    )


async def test_of_many_appenders_exactly_one_wins_each_sequence(bus: Bus) -> None:
    await make_stream(bus)
    subject = bus.names.subject("s", "contended")
    won: list[int] = []
    conflicts = 0

    async def appender() -> None:
        nonlocal conflicts
        tail = 0
        while tail < 60:
            try:
                stored = await bus.publish(subject, headers={EXPECT: str(tail)})
            except WrongSequenceError:
                conflicts += 1
                tail = max(won, default=0)
                await asyncio.sleep(0)
            else:
                won.append(stored.seq)
                tail = stored.seq

    await asyncio.gather(*(appender() for _ in range(16)))
    assert sorted(won) == sorted(set(won))
    assert won == list(range(1, len(won) + 1))
    assert conflicts > 0


@pytest.mark.parametrize("code", [10071, 10164])
def test_both_codes_of_a_wrong_sequence_mean_the_same(code: int) -> None:
    error = error_of("journal.x", {"code": 400, "err_code": code, "description": "wrong last sequence"})
    assert isinstance(error, WrongSequenceError)
    assert error.code == code


async def test_a_full_stream_says_so(bus: Bus) -> None:
    await make_stream(bus, max_msgs=1, discard="new")
    await bus.publish(bus.names.subject("s", "a"))
    with pytest.raises(StreamFullError) as caught:
        await bus.publish(bus.names.subject("s", "a"))
    assert caught.value.code == 10077


async def test_a_subject_without_a_stream_is_unavailable_at_once(bus: Bus) -> None:
    with pytest.raises(BrokerUnavailableError, match="nobody answers"):
        await bus.publish(bus.names.subject("nowhere"))


async def test_an_unknown_stream_is_named_with_a_hint(bus: Bus) -> None:
    with pytest.raises(BrokerError, match="stream not found") as caught:
        await bus.api("STREAM.INFO.NOT_THERE")
    assert caught.value.code == 10059
    assert caught.value.hint


async def test_a_body_over_max_payload_is_refused_before_it_is_sent(bus: Bus) -> None:
    await make_stream(bus)
    with pytest.raises(BrokerError, match="max_payload") as caught:
        await bus.publish(bus.names.subject("s", "a"), b"x" * (bus.max_payload + 1))
    assert caught.value.code == 10054


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB x 0"])
async def test_a_malformed_subject_is_refused(bus: Bus, subject: str) -> None:
    with pytest.raises(BrokerError, match="no valid subject"):
        await bus.publish(subject)


async def test_no_answer_in_time_leaves_no_request_behind(bus: Bus) -> None:
    silent = await bus.subscribe(bus.names.subject("silent"), lambda _: None)
    with pytest.raises(BrokerUnavailableError, match="no answer in time"):
        await bus.request(bus.names.subject("silent"), timeout=0.05)
    assert len(bus._replies) == 0
    await silent.stop()


async def test_a_cancelled_request_leaves_nothing_behind(bus: Bus) -> None:
    silent = await bus.subscribe(bus.names.subject("silent"), lambda _: None)
    request = asyncio.create_task(bus.request(bus.names.subject("silent"), timeout=60))
    await asyncio.sleep(0)
    assert len(bus._replies) == 1
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert len(bus._replies) == 0
    await silent.stop()


async def test_subscriptions_hand_over_headers_reply_and_body(bus: Bus) -> None:
    got: asyncio.Queue[Message] = asyncio.Queue()
    subscription = await bus.subscribe(bus.names.subject("x", "*"), got.put_nowait)
    await bus.send(bus.names.subject("x", "y"), b"\x00\r\n\xff", headers={"A": "b"}, reply="answer.here")
    message = await asyncio.wait_for(got.get(), 20)
    assert (message.subject, message.body) == (bus.names.subject("x", "y"), b"\x00\r\n\xff")
    assert (message.headers, message.reply) == ({"A": "b"}, "answer.here")
    await subscription.stop()


async def test_handlers_see_the_context_of_their_subscription(bus: Bus) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    who = ContextVar("who", default="nobody")
    who.set("subscriber")
    subscription = await bus.subscribe(bus.names.subject("x"), lambda _: seen.put_nowait(who.get()))
    who.set("somebody else")
    await bus.send(bus.names.subject("x"))
    assert await asyncio.wait_for(seen.get(), 20) == "subscriber"
    await subscription.stop()


async def test_a_killed_broker_fails_everything_at_once_and_comes_back(own_broker: BrokerProcess) -> None:
    async with await Bus.connect([own_broker.url], name="kill", names=Names("k")) as bus:
        await make_stream(bus)
        subject = bus.names.subject("s", "a")
        back = asyncio.Event()
        bus.on_reconnect(back.set)
        silent = await bus.subscribe("silent", lambda _: None)
        waiting = [asyncio.create_task(bus.request("silent", timeout=60)) for _ in range(40)]
        publishes = [asyncio.create_task(bus.publish(subject, timeout=60)) for _ in range(500)]
        await asyncio.sleep(0)
        own_broker.kill()
        # The time-outs are longer than this: what is lost must be told by the loss itself.
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting, *publishes, return_exceptions=True), 10)
        assert all(isinstance(outcome, BrokerUnavailableError) for outcome in outcomes[:40])
        assert all(isinstance(outcome, BrokerUnavailableError | Stored) for outcome in outcomes)
        await until(bus, connected=False)
        with pytest.raises(BrokerUnavailableError, match="nothing was sent"):
            await bus.publish(subject)
        with pytest.raises(BrokerUnavailableError, match="nothing was sent"):
            await bus.send(subject)
        assert not bus.closed.is_set()
        own_broker.start()
        await asyncio.wait_for(back.wait(), 20)
        assert (await bus.publish(subject)).seq > 0
        with pytest.raises(BrokerUnavailableError, match="no answer in time"):  # the subscription is back too
            await bus.request("silent", timeout=0.05)
        await silent.stop()


async def test_what_a_frozen_broker_did_not_take_is_never_sent_later(own_broker: BrokerProcess) -> None:
    async with await Bus.connect([own_broker.url], name="frozen", names=Names("f")) as bus:
        await make_stream(bus)
        subject = bus.names.subject("s", "a")
        own_broker.signal(signal.SIGSTOP)
        # The first wave fills the socket's buffers, so that the second lies in the client.
        sent = []
        for _ in range(2):
            sent += [asyncio.create_task(bus.publish(subject, b"x" * 500_000, timeout=60)) for _ in range(30)]
            await asyncio.sleep(0.05)
        assert bus._client.pending_data_size > 0
        lost = asyncio.Event()
        bus.on_disconnect(lost.set)
        await bus._client.force_reconnect()  # what the pings do after some seconds
        await asyncio.wait_for(lost.wait(), 20)
        assert bus._client.pending_data_size == 0
        outcomes = await asyncio.wait_for(asyncio.gather(*sent, return_exceptions=True), 20)
        assert all(isinstance(outcome, BrokerUnavailableError) for outcome in outcomes)
        own_broker.signal(signal.SIGCONT)
        await until(bus, connected=True)


async def test_a_reconnection_that_dies_is_started_anew(
    own_broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Bus.connect([own_broker.url], name="mend") as bus:
        real = bus._client._process_connect_init
        deaths = 0

        async def dies_twice() -> None:
            nonlocal deaths
            if deaths < 2:
                deaths += 1
                raise RuntimeError(
                    "unable to perform operation on <TCPTransport closed=True>; the handler is closed"
                )
            await real()

        monkeypatch.setattr(bus._client, "_process_connect_init", dies_twice)
        with pytest.MonkeyPatch.context() as quiet:
            # A task that dies unobserved is what is played here: its complaint is expected.
            quiet.setattr(asyncio.get_running_loop(), "call_exception_handler", lambda _: None)
            own_broker.kill()
            await until(bus, connected=False)
            own_broker.start()
            await until(bus, connected=True)
        assert deaths == 2
        assert await bus.api("INFO")


async def test_a_reader_that_dies_is_noticed(own_broker: BrokerProcess) -> None:
    async with await Bus.connect([own_broker.url], name="reader") as bus:
        back = asyncio.Event()
        bus.on_reconnect(back.set)
        assert bus._client._reading_task is not None
        bus._client._reading_task.cancel()
        await asyncio.wait_for(back.wait(), 10)
        assert await bus.api("INFO")


async def test_nobody_there_is_told_in_time_without_the_password() -> None:
    with pytest.raises(BrokerUnavailableError, match="could be reached") as caught:
        await Bus.connect(["nats://user:secret@127.0.0.1:9"], name="none", connect_timeout=0.3)
    assert "secret" not in str(caught.value)


async def test_close_fails_what_is_in_flight_and_ends_the_waiting(own_broker: BrokerProcess) -> None:
    bus = await Bus.connect([own_broker.url], name="close")
    await bus.subscribe("silent", lambda _: None)
    request = asyncio.create_task(bus.request("silent", timeout=60))
    ended = asyncio.create_task(bus.wait_closed())
    await asyncio.sleep(0)
    await bus.close()
    await asyncio.wait_for(ended, 20)
    with pytest.raises(BrokerUnavailableError):
        await request
    await bus.close()


async def test_drain_lets_open_publishes_finish(own_broker: BrokerProcess) -> None:
    bus = await Bus.connect([own_broker.url], name="drain", names=Names("d"))
    await make_stream(bus)
    publishes = [asyncio.create_task(bus.publish(bus.names.subject("s", "a"))) for _ in range(200)]
    await asyncio.sleep(0)
    await bus.drain()
    assert sorted(stored.seq for stored in await asyncio.gather(*publishes)) == list(range(1, 201))
    assert bus.closed.is_set()


@pytest.mark.crash
async def test_nobody_waits_long_for_a_frozen_broker_on_the_way_out(own_broker: BrokerProcess) -> None:
    bus = await Bus.connect([own_broker.url], name="drain", names=Names("d"))
    subscription = await bus.subscribe("news", lambda _: None)
    await bus.subscribe("other", lambda _: None)
    own_broker.signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(20):  # the publish below waits for three times as long
            await subscription.stop()
        publish = asyncio.create_task(bus.publish(bus.names.subject("s", "a"), timeout=60))
        async with asyncio.timeout(20):
            await bus.drain()
        with pytest.raises(BrokerUnavailableError):
            await publish
        assert bus.closed.is_set()
    finally:
        own_broker.signal(signal.SIGCONT)


async def test_an_early_bus_is_there_before_its_broker(own_broker: BrokerProcess) -> None:
    own_broker.kill()
    heard = []
    bus = await Bus.connect_early(Login([own_broker.url], "early"), Names("early"), connect_timeout=0.1)
    try:
        bus.on_reconnect(lambda: heard.append("back"))
        assert not bus.connected
        with pytest.raises(BrokerUnavailableError, match="nothing was sent"):
            await bus.publish("early.s.a")
        own_broker.start()
        async with asyncio.timeout(20):
            await bus.opened()
        assert (bus.connected, heard) == (True, ["back"])
        await make_stream(bus)
        assert (await bus.publish(bus.names.subject("s", "a"))).seq == 1
        own_broker.kill()
        await until(bus, connected=False)
        own_broker.start()
        await patience.until(lambda: heard == ["back", "back"])
        assert bus.connected
    finally:
        await bus.close()
    await bus.opened()


async def test_an_early_bus_that_never_opened_can_be_closed(unused_tcp_port: int) -> None:
    login = Login([f"nats://127.0.0.1:{unused_tcp_port}"], "early")
    bus = await Bus.connect_early(login, Names(), connect_timeout=0.05)
    waiting = asyncio.create_task(bus.opened())
    await asyncio.sleep(0)
    await bus.drain()
    await bus.close()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert bus.closed.is_set()


async def test_an_early_bus_in_time_is_like_any_other(broker: BrokerProcess, names: Names) -> None:
    bus = await Bus.connect_early(Login([broker.url], "early"), names)
    assert bus.connected
    await bus.opened()
    await bus.close()
