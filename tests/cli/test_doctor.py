"""`tidemill doctor`: what it finds where something is wrong, and that it changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tidemill.cli import checks_broker, checks_control, checks_local, doctor
from tidemill.cli.finding import Finding
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.errors import BrokerUnavailableError, EmbeddedBrokerError
from tidemill.kernel.jetstream import embedded_binary
from tidemill.kernel.jetstream.task_consumers import ensure_task_consumer
from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.services.data_keys import DataKey, KeyFile
from tidemill.kernel.services.registry import publish
from tidemill.kernel.services.tenants import Tenants
from tidemill.kernel.services.vault import Vault
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from conftest import BrokerProcess, Call

    from tidemill.kernel.subjects import Names

SOURCE = {"preset": "github", "secrets": ["s3cret"]}


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def load(**tables: Any) -> Settings:
    return Settings.load(None, {}, {"sources": {"github": SOURCE}, **tables})


def of(findings: Any, subject: str) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


def test_a_sound_configuration_has_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    findings = [*checks_local.installation(), *checks_local.configuration(load())]
    assert [finding for finding in findings if finding.level == "problem"] == []
    assert {"python", "nats-py", "packages", "secrets", "durability", "disk", "nats-server"} <= {
        finding.subject for finding in findings
    }
    assert all(finding.hint for finding in findings if finding.level != "ok")


@pytest.mark.parametrize(
    ("tables", "subject", "level", "what"),
    [
        ({"sources": {"a": {**SOURCE, "secrets": ["env:NONE"]}}}, "secrets", "problem", "no variable NONE"),
        ({"sources": {}}, "sources", "warning", "there are none"),
        (
            {"sources": {"a": {"preset": "githup", "secrets": ["x"]}}},
            "sources",
            "problem",
            "no preset 'githup'",
        ),
        (
            {"sources": {"a": {"preset": "meta", "secrets": ["x"]}}},
            "sources",
            "warning",
            "can't answer its provider's handshake",
        ),
        (
            {"sources": {"a": {"preset": "meta", "secrets": ["x"], "verify_tokens": ["env:NONE"]}}},
            "secrets",
            "problem",
            "no variable NONE",
        ),
        (
            {"sources": {"a": {"preset": "github", "allow_unsigned": True}}},
            "sources",
            "warning",
            "takes unsigned deliveries",
        ),
        (
            {"sources": {"a": {**SOURCE, "secrets": [{"value": "x", "until": "2020-01-01T00:00:00Z"}]}}},
            "sources",
            "problem",
            "no secret that still counts",
        ),
        ({"sources": {"a": {"preset": "google-pubsub"}}}, "sources", "problem", "lets nobody in"),
        ({"sources": {"a": {"preset": "neon"}}}, "sources", "problem", "a.keys is missing"),
        ({"sources": {"a": {"preset": "github"}}}, "sources", "problem", "a.secrets is missing"),
        ({"nats": {"durability": "os"}}, "durability", "warning", "a power cut loses messages"),
        ({"control": {"listen": "0.0.0.0:8081"}}, "control", "problem", "anybody there could start runs"),
    ],
)
def test_what_the_settings_give_away(tables: dict[str, Any], subject: str, level: str, what: str) -> None:
    (finding,) = of(checks_local.configuration(load(**tables)), subject)
    assert (finding.level, what in finding.what) == (level, True), finding
    assert finding.hint


def test_sources_whose_keys_are_fetched_need_no_secrets() -> None:
    tables: dict[str, Any] = {
        "google-pubsub": {"verify_tokens": ["push@example.com"]},
        "sns": {"verify_tokens": ["arn:aws:sns:eu-west-1:1:a"]},
        "neon": {"keys": "https://auth.example.com/.well-known/jwks.json"},
        "plaid": {"secrets": ["id:secret"]},
    }
    sources = {name: {"preset": name, **table} for name, table in tables.items()}
    found = of(checks_local.configuration(load(sources=sources)), "sources")
    assert [(finding.level, finding.what) for finding in found] == [("ok", name) for name in tables]


@pytest.mark.parametrize(("free", "level"), [(1 << 40, "ok"), (500 << 20, "warning"), (1 << 20, "problem")])
def test_disk_space(free: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_local.shutil, "disk_usage", lambda _: Usage(1 << 41, 0, free))
    (finding,) = of(checks_local.configuration(load()), "disk")
    assert finding.level == level


def test_a_missing_server_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def find() -> Path:
        raise EmbeddedBrokerError("there is none", hint="install it")

    monkeypatch.setattr(embedded_binary, "find", find)
    (finding,) = of(checks_local.configuration(load()), "nats-server")
    assert finding == Finding("problem", "nats-server", "there is none", "install it")


def test_old_versions_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_local.metadata, "version", lambda _: "2.9.0")
    monkeypatch.setattr(checks_local.sys, "version_info", (3, 10, 1))
    levels = {finding.subject: finding.level for finding in checks_local.installation()}
    assert (levels["python"], levels["nats-py"]) == ("problem", "problem")


def test_wrong_settings_are_a_finding_and_the_rest_is_still_looked_at(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tidemill.toml").write_text("[gatway]\n")
    result = call("doctor", "--json")
    assert result.code == 1
    rows = json.loads(result.out)
    assert rows[-1]["subject"] == "settings"
    assert "gatway" in rows[-1]["what"]
    assert rows[0]["subject"] == "python"


def test_it_changes_nothing_where_no_broker_has_run(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("doctor")
    assert result.code == 0
    assert "hasn't run" in result.out
    assert list(tmp_path.iterdir()) == []


async def test_a_broker_that_is_away_is_the_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def away(*_: object, **__: object) -> AsyncIterator[None]:
        raise BrokerUnavailableError("nobody there")
        yield

    monkeypatch.setattr(checks_broker, "open_broker", away)
    (finding,) = await checks_broker.broker(load(nats={"url": "nats://127.0.0.1:1"}))
    assert (finding.level, finding.what) == ("problem", "nobody there")
    assert finding.hint


async def test_a_control_listener_that_is_away_is_the_one_finding() -> None:
    (finding,) = await checks_control.control(load(), "http://127.0.0.1:1")
    assert finding.level == "problem"
    assert "can't be reached" in finding.what


@pytest.fixture
def settings(broker: BrokerProcess, names: Names) -> Settings:
    return load(nats={"url": broker.url, "namespace": names.namespace})


@pytest.fixture
async def prepared(settings: Settings) -> AsyncIterator[Broker]:
    """The broker with its streams, which are deleted at the end."""
    async with open_broker(settings, name="test") as opened:
        yield opened
        for stream in (await opened.bus.api("STREAM.NAMES", {}))["streams"] or []:
            if opened.names.namespace in stream:
                await opened.bus.api(f"STREAM.DELETE.{stream}")


@pytest.mark.integration
async def test_a_fresh_broker_waits_for_its_streams(settings: Settings) -> None:
    version, topology = await checks_broker.broker(settings)
    assert version.level == "ok"
    assert topology.level == "warning"
    assert "EVENTS: created" in topology.what


@pytest.mark.integration
async def test_a_prepared_one_is_in_order(settings: Settings, prepared: Broker) -> None:
    assert prepared.bus.connected
    findings = await checks_broker.broker(settings)
    assert {finding.level for finding in findings} == {"ok"}, findings
    assert [finding.subject for finding in findings] == [
        "broker", "topology", "clock", "room", "duplicates", "router", "tickets", "schedules", "paused",
        "workers", "encryption",
    ]  # fmt: skip


@pytest.mark.integration
async def test_work_that_nobody_does_is_a_problem(settings: Settings, prepared: Broker) -> None:
    bus, names = prepared.bus, prepared.names
    await bus.publish(names.event("github", "github.push"), b"{}\n")
    for task in ("a.b", "a.b", "orphan"):
        await bus.publish(names.ticket(task, f"run_{time.monotonic_ns()}", 1), b"{}\n")
    await ensure_task_consumer(bus, "a.b", limit=None)
    await publish(prepared.tasks, TaskDefinition(id="a.b"))
    findings = await checks_broker.broker(settings)
    (router,) = of(findings, "router")
    assert (router.level, router.what) == ("problem", "1 events wait and no router runs")
    assert [(finding.level, finding.what) for finding in of(findings, "tickets")] == [
        ("problem", "2 runs of 'a.b' wait: no worker serves it now"),
        ("problem", "1 runs of 'orphan' wait: no worker has ever served it"),
    ]
    (workers,) = of(findings, "workers")
    assert (workers.level, workers.what) == ("warning", "0 alive, 1 tasks known")


@pytest.mark.integration
@pytest.mark.usefixtures("prepared")
async def test_drift_is_told_in_sentences(settings: Settings) -> None:
    tables = {"nats": dict(settings.inputs.overrides["nats"]), "events": {"duplicate_window": "1h"}}
    (topology,) = of(await checks_broker.broker(load(**tables)), "topology")
    assert topology.level == "warning"
    assert "duplicate_window 86400 s -> 3600 s" in topology.what


@pytest.mark.integration
async def test_a_full_stream_is_a_problem(
    settings: Settings, broker: BrokerProcess, prepared: Broker
) -> None:
    assert broker.url
    stream = prepared.names.stream("EVENTS")
    config = (await prepared.bus.api(f"STREAM.INFO.{stream}"))["config"]
    await prepared.bus.api(f"STREAM.UPDATE.{stream}", config | {"max_bytes": 100_000})
    await prepared.bus.publish(prepared.names.event("a", "b"), b"x" * 97_000)
    (room,) = of(await checks_broker.broker(settings), "room")
    assert room.level == "problem"
    assert "EVENTS holds" in room.what


@pytest.mark.integration
async def test_events_that_nobody_read_in_time_are_a_problem(settings: Settings, prepared: Broker) -> None:
    bus, names = prepared.bus, prepared.names
    stream = names.stream("EVENTS")
    for _ in range(4):
        await bus.publish(names.event("a", "b"), b"{}\n")
    config = (await bus.api(f"STREAM.INFO.{stream}"))["config"]
    await bus.api(f"STREAM.UPDATE.{stream}", config | {"discard": "old", "max_msgs": 1})
    levels = [(finding.level, finding.what) for finding in of(await checks_broker.broker(settings), "router")]
    assert ("problem", "up to 3 events aged out unread") in levels


@pytest.mark.integration
@pytest.mark.parametrize(("skew", "level"), [(0.0, "ok"), (1.0, "warning"), (-60.0, "problem")])
async def test_clocks_are_compared(
    skew: float, level: str, settings: Settings, prepared: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepared.bus.connected
    shifted: Callable[[], float] = lambda: time.time() + skew  # noqa: E731 - a clock
    monkeypatch.setattr(checks_broker, "time", SimpleNamespace(time=shifted))
    (clock,) = of(await checks_broker.broker(settings), "clock")
    assert clock.level == level


@pytest.mark.parametrize(
    ("first", "last", "messages", "expected"),
    [
        (0, 0, 0, 0),
        (-50, -10, 400, 400),
        (-1000, 0, 1000, 100),
        (-1000, -200, 1000, 0),
        (-500, -500, 1, 0),
        (-200, -50, 300, 100),
    ],
)
def test_ids_of_the_duplicate_window_are_estimated(
    first: float, last: float, messages: int, expected: int
) -> None:
    now = time.time()
    state = {
        "messages": messages,
        "first_ts": checks_broker.datetime.fromtimestamp(now + first).astimezone().isoformat(),
        "last_ts": checks_broker.datetime.fromtimestamp(now + last).astimezone().isoformat(),
    }
    assert abs(checks_broker._ids_in_window(state, 100) - expected) <= 1


def test_one_check_alone(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = call("doctor", "--check", "broker", "--check", "python", "--json").json()
    assert [row["subject"] for row in rows] == ["python", "broker"]
    result = call("doctor", "--check", "brokr")
    assert result.code == 1
    assert "did you mean broker?" in result.err


def test_a_problem_elsewhere_doesnt_count_unless_it_is_in_the_way(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tidemill.toml").write_text('[sources.a]\npreset = "github"\nsecrets = ["env:NONE"]\n')
    assert call("doctor").code == 1
    assert call("doctor", "--check", "durability").code == 0
    (tmp_path / "tidemill.toml").write_text("[gatway]\n")
    result = call("doctor", "--check", "broker", "--json")
    assert result.code == 1
    assert [row["subject"] for row in json.loads(result.out)] == ["settings", "broker"]


def test_a_check_that_wasnt_made_is_a_problem() -> None:
    missing = [Finding("ok", "broker", "it is there"), Finding("warning", "topology", "not applied yet", "x")]
    found = doctor.select(missing, ["router"])
    assert [(finding.level, finding.subject) for finding in found] == [
        ("warning", "topology"),
        ("problem", "router"),
    ]
    assert doctor.select(missing, ["broker"]) == missing[:1]


@pytest.mark.integration
async def test_each_check_of_the_broker_can_be_asked_for(settings: Settings, prepared: Broker) -> None:
    assert prepared.bus.connected
    for name in ("topology", *checks_broker.CHECKS):
        findings = await checks_broker.broker(settings, [name])
        assert {finding.subject for finding in findings} == {"broker", "topology", name}
    assert [finding.subject for finding in await checks_broker.broker(settings, ["broker"])] == ["broker"]


@pytest.mark.integration
async def test_every_finding_has_a_name_that_can_be_asked_for(settings: Settings, prepared: Broker) -> None:
    assert prepared.bus.connected
    spooling = load(gateway={"spool": "1MiB"})
    findings = [*checks_local.installation(), *checks_local.configuration(spooling)]
    findings += await checks_broker.broker(settings)
    findings += await checks_control.control(load(), "http://127.0.0.1:1")
    assert {finding.subject for finding in findings} == set(doctor.SUBJECTS) - {"key"}


def test_a_spool_says_what_is_in_it_and_whether_it_has_room(tmp_path: Path) -> None:
    (found,) = of(
        checks_local.configuration(load(gateway={"spool": "1MiB", "spool_dir": str(tmp_path / "s")})), "spool"
    )
    assert (found.level, found.what) == ("ok", f"0 KiB of 1024 KiB used in {tmp_path / 's'}")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "aside-0000000000000007").write_text("x")
    (left,) = of(
        checks_local.configuration(load(gateway={"spool": "1MiB", "spool_dir": str(tmp_path / "s")})), "spool"
    )
    assert (left.level, "aside-" in left.what) == ("warning", True)
    huge = load(gateway={"spool": 1 << 60, "spool_dir": str(tmp_path)})
    (full,) = of(checks_local.configuration(huge), "spool")
    assert full.level == "problem"
    assert of(checks_local.configuration(load()), "spool") == []


def test_the_data_key_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nats = {"data_dir": str(tmp_path / "data")}
    (none,) = of(checks_local.configuration(load(nats=nats)), "secret-key")
    assert (none.level, "is made when" in none.what) == ("ok", True)
    made = KeyFile(tmp_path / "data").make()
    (generated,) = of(checks_local.configuration(load(nats=nats)), "secret-key")
    assert (generated.level, generated.what.startswith(made.id)) == ("ok", True)
    (elsewhere,) = of(checks_local.configuration(load(nats={**nats, "url": "nats://a:4222"})), "secret-key")
    assert elsewhere.level == "warning"
    (given,) = of(checks_local.configuration(load(gateway={"secret_key": "a" * 64})), "secret-key")
    assert (given.level, "gateway.secret_key" in given.what) == ("ok", True)
    for wrong in ("too short", "env:NOWHERE"):
        (bad,) = of(checks_local.configuration(load(gateway={"secret_key": wrong})), "secret-key")
        assert bad.level == "problem"


@pytest.mark.integration
async def test_secrets_that_need_a_key_which_is_gone_are_counted(
    settings: Settings, prepared: Broker
) -> None:
    lost = DataKey.of(b"l" * 32)
    await Tenants(prepared.tenants, Vault((lost,))).add("github", "acme", Secret("s"))
    await prepared.tenants.put("github.worn", b"{}")
    await prepared.secrets.put("asana", b'{"secret": "plain", "at": "", "client": ""}')
    found = of(await checks_broker.broker(settings, ["encryption"]), "encryption")
    assert [one.level for one in found] == ["problem", "problem", "warning"]
    assert "worn" in found[0].what
    assert lost.id in found[1].what
