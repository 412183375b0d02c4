from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tidemill import client
from tidemill.client import Client, current, use, use_everywhere
from tidemill.http_transport import HttpTransport
from tidemill.kernel.decision import Decision
from tidemill.kernel.errors import (
    ConflictError,
    PayloadError,
    RunCancelledError,
    RunFailedError,
    SettingsError,
)
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.trigger import TriggerRequest
from tidemill.task import Task, task
from tidemill.transport import RunOutcome, Transport


@dataclass
class Recorder(Transport):
    """A transport that notes what it is asked and on which event loop."""

    answer: RunOutcome = field(default_factory=lambda: RunOutcome("completed", b"5"))
    requests: list[TriggerRequest] = field(default_factory=list)
    loops: list[asyncio.AbstractEventLoop] = field(default_factory=list)
    calls: list[tuple[object, ...]] = field(default_factory=list)

    async def trigger(self, request: TriggerRequest) -> str:
        self.requests.append(request)
        self.loops.append(asyncio.get_running_loop())
        return f"run_{len(self.requests)}"

    async def outcome(self, run_id: str, timeout: float | None) -> RunOutcome:
        self.calls.append(("outcome", run_id, timeout))
        return self.answer

    async def cancel(self, run_id: str, reason: str) -> None:
        self.calls.append(("cancel", run_id, reason))

    async def send_signal(self, run_id: str, name: str, data: bytes, key: str | None) -> None:
        self.calls.append(("signal", run_id, name, data, key))

    async def send_answer(self, token_id: str, decision: Decision) -> None:
        self.calls.append(("answer", token_id, decision))

    async def open(self) -> None:
        self.calls.append(("open",))

    async def close(self) -> None:
        self.calls.append(("close",))


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    found = Recorder()
    with use_everywhere(Client(found)):
        yield found


@dataclass
class Push:
    ref: str


@task
async def deploy(push: Push) -> int:
    return len(push.ref)


@task
async def nightly() -> int: ...


async def test_a_trigger_is_checked_encoded_and_answered_with_the_runs_handle(recorder: Recorder) -> None:
    run = await deploy.trigger(Push("main"), delay="5m", tags=["a"])
    assert run.id == "run_1"
    assert recorder.requests == [TriggerRequest("deploy", b'{"ref":"main"}', delay=300.0, tags=("a",))]
    assert await run.result(timeout="2s") == 5
    await run.cancel("changed my mind")
    assert recorder.calls == [("outcome", "run_1", 2.0), ("cancel", "run_1", "changed my mind")]


async def test_a_task_without_payload_is_triggered_without_one(recorder: Recorder) -> None:
    await nightly.trigger()
    await nightly.trigger(idempotency_key="today")
    assert [request.payload for request in recorder.requests] == [b"null", b"null"]
    wrong: Any = {"n": 1}
    with pytest.raises(PayloadError, match="the payload doesn't fit None"):
        await nightly.trigger(wrong)


async def test_a_payload_that_does_not_fit_is_refused_before_anything_is_sent(recorder: Recorder) -> None:
    wrong: Any = {"ref": 5}
    with pytest.raises(PayloadError, match="ref: Input should be a valid string"):
        await deploy.trigger(wrong)
    assert not recorder.requests


@pytest.mark.parametrize(
    ("outcome", "kind", "told"),
    [
        (
            RunOutcome("failed", error="'x'", error_type="KeyError"),
            RunFailedError,
            "run run_1 is failed: KeyError: 'x'",
        ),
        (RunOutcome("timed_out"), RunFailedError, "run run_1 is timed out"),
        (RunOutcome("crashed", error="killed"), RunFailedError, "run run_1 is crashed: killed"),
        (RunOutcome("expired"), RunFailedError, "run run_1 is expired"),
        (
            RunOutcome("cancelled", error="superseded"),
            RunCancelledError,
            "run run_1 is cancelled: superseded",
        ),
    ],
)
async def test_a_run_without_a_result_raises(
    recorder: Recorder, outcome: RunOutcome, kind: type[RunFailedError], told: str
) -> None:
    recorder.answer = outcome
    run = await deploy.trigger(Push("main"))
    with pytest.raises(kind) as caught:
        await run.result()
    assert caught.value.sentence == told
    error = caught.value
    assert (error.run_id, error.state, error.error_type) == ("run_1", outcome.state, outcome.error_type)
    assert "tidemill runs show run_1" in caught.value.hint


@pytest.mark.usefixtures("recorder")
def test_sync_code_triggers_without_an_event_loop() -> None:
    assert deploy.trigger_sync(Push("main")).id == "run_1"
    assert nightly.trigger_sync(None).id == "run_2"


async def test_on_an_event_loop_trigger_sync_is_refused_instead_of_blocking_it(recorder: Recorder) -> None:
    with pytest.raises(ConflictError) as caught:
        deploy.trigger_sync(Push("main"))
    assert "await task.trigger" in caught.value.hint
    assert not recorder.requests


async def test_a_transport_with_a_home_is_only_used_there() -> None:
    """As in a worker: sync handlers trigger from threads, some of them with an event loop of their own."""
    recorder = Recorder()
    home = asyncio.get_running_loop()

    def handler() -> None:
        deploy.trigger_sync(Push("a"))
        asyncio.run(_trigger(deploy))

    with use(Client(recorder, loop=home)):
        await deploy.trigger(Push("c"))
        await asyncio.to_thread(handler)
    assert recorder.loops == [home] * 3


async def _trigger(which: Task[Push, int]) -> None:
    await which.trigger(Push("b"))


@pytest.mark.usefixtures("recorder")
async def test_the_client_in_use_is_that_of_the_code_and_of_what_it_starts() -> None:
    default, own = current(), Client(Recorder())
    with use(own):
        assert current() is own
        assert await asyncio.to_thread(current) is own
        found: list[Client] = []
        thread = threading.Thread(target=lambda: found.append(current()))
        thread.start()
        thread.join()
        assert found == [default]
    assert current() is default


async def test_a_client_opens_and_closes_its_transport() -> None:
    recorder = Recorder()
    async with Client(recorder):
        assert recorder.calls == [("open",)]
    assert recorder.calls == [("open",), ("close",)]


@pytest.mark.parametrize(
    ("environ", "url", "key"),
    [
        ({}, "http://127.0.0.1:8081", None),
        ({"TIDEMILL_CONTROL__LISTEN": "0.0.0.0:9000"}, "http://127.0.0.1:9000", None),
        ({"TIDEMILL_CLIENT__URL": "https://t.example"}, "https://t.example", None),
        (
            {"TIDEMILL_CLIENT__URL": "https://t.example", "TIDEMILL_CLIENT__KEY": "env:K", "K": "tm_1"},
            "https://t.example",
            "tm_1",
        ),
    ],
)
def test_settings_say_how_tidemill_is_reached(environ: dict[str, str], url: str, key: str | None) -> None:
    found = Client.from_settings(Settings.load(environ=environ))._transport
    assert isinstance(found, HttpTransport)
    assert (found.url, found.key) == (url, key)
    assert "tm_1" not in repr(found)


def test_settings_that_do_not_say_it_are_told_apart() -> None:
    settings = Settings.load(environ={"TIDEMILL_CONTROL__LISTEN": "127.0.0.1:0"})
    with pytest.raises(SettingsError) as caught:
        Client.from_settings(settings)
    assert "TIDEMILL_CLIENT__URL" in caught.value.hint


def test_the_default_client_comes_from_the_working_directory_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tidemill.toml").write_text('[client]\nurl = "http://there:1"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "_default", [])
    found = current()
    transport = found._transport
    assert isinstance(transport, HttpTransport)
    assert transport.url == "http://there:1"
    assert current() is found


async def test_signals_and_answers_are_encoded_and_sent(recorder: Recorder) -> None:
    client = Client(recorder)
    run = await deploy.trigger(Push("main"))
    await run.signal("go", Push("x"), key="k")
    await client.complete(f"{run.id}.ship", by="ann", approved=False, comment="no", data={"a": Push("x")})
    with pytest.raises(PayloadError, match="a: object has no JSON form"):
        await run.signal("go", {"a": object()})
    assert recorder.calls == [
        ("signal", run.id, "go", b'{"ref":"x"}', "k"),
        ("answer", f"{run.id}.ship", Decision("ann", approved=False, comment="no", data={"a": {"ref": "x"}})),
    ]
