"""Opening a broker: where it is, how to get in, what is prepared, and what is closed again."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BrokerProcess
from tidemill.kernel.errors import BrokerError, SettingsError
from tidemill.kernel.jetstream.topology import diff
from tidemill.kernel.services.broker import limits, open_access, open_broker
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import Names


def _settings(environ: dict[str, str] | None = None, **tables: Any) -> Settings:
    return Settings.load(environ=environ or {}, overrides=tables)


@pytest.mark.integration
async def test_an_opened_broker_is_prepared_and_closed_again(broker: BrokerProcess, names: Names) -> None:
    settings = _settings(nats={"url": broker.url, "namespace": names.namespace})
    async with open_broker(settings, name="test") as opened:
        assert await diff(opened.bus, opened.topology) == []
        assert opened.names == names
        lease = await opened.access.connect("lease")
        assert lease.connected
        await lease.close()
        for stream in (await opened.bus.api("STREAM.NAMES", {}))["streams"]:
            if f"{names.namespace}_" in stream:
                await opened.bus.api(f"STREAM.DELETE.{stream}")
    assert not opened.bus.connected


@pytest.mark.integration
async def test_a_broker_can_be_opened_without_touching_it(broker: BrokerProcess, names: Names) -> None:
    settings = _settings(nats={"url": broker.url, "namespace": names.namespace})
    async with open_broker(settings, name="test", prepare=False) as opened:
        assert len(await diff(opened.bus, opened.topology)) == len(opened.topology.streams) + len(
            opened.topology.consumers
        )


@pytest.mark.integration
async def test_an_embedded_broker_is_started_and_stopped(tmp_path: Path) -> None:
    settings = _settings(nats={"data_dir": str(tmp_path / "data"), "durability": "os"})
    async with open_broker(settings, name="test", prepare=False) as opened:
        assert opened.access.user
        assert opened.access.password
        assert opened.access.password not in repr(opened.access)
        assert opened.bus.connected


async def test_access_takes_user_password_and_servers_from_the_settings() -> None:
    nats = {"url": "nats://a:4222,nats://b:4222", "user": "mill", "password": "env:SECRET", "namespace": "p"}
    async with open_access(_settings({"SECRET": "s3cret"}, nats=nats)) as access:
        assert access.servers == ("nats://a:4222", "nats://b:4222")
        assert (access.user, access.password, access.tls) == ("mill", "s3cret", None)
        assert access.names.stream("EVENTS") == "p_EVENTS"
        assert "s3cret" not in repr(access)
    with pytest.raises(SettingsError):
        async with open_access(_settings(nats=nats)):
            pass


async def test_access_speaks_tls_where_the_settings_say_so(tmp_path: Path) -> None:
    async with open_access(_settings(nats={"url": "tls://a:4222", "tls": True})) as access:
        assert isinstance(access.tls, ssl.SSLContext)
        assert access.tls.verify_mode is ssl.CERT_REQUIRED
    (tmp_path / "nonsense.pem").write_text("nonsense")
    for file in ("nothing.pem", "nonsense.pem"):
        wrong = {"url": "tls://a:4222", "tls": {"ca": str(tmp_path / file)}}
        with pytest.raises(SettingsError, match=rf"nats\.tls: .*/{file} can't be used"):
            async with open_access(_settings(nats=wrong)):
                pass


async def test_nobody_there_is_a_broker_error() -> None:
    async with open_access(_settings(nats={"url": "nats://127.0.0.1:9"})) as access:
        with pytest.raises(BrokerError, match=r"127\.0\.0\.1:9"):
            await access.connect("test", connect_timeout=0.3)


def test_limits_are_those_of_the_settings() -> None:
    settings = _settings(
        nats={"url": "nats://a:4222", "replicas": 3},
        events={"max_age": "2h", "max_bytes": "3MiB", "duplicate_window": "1h"},
    )
    found = limits(settings)
    assert (found.replicas, found.events_max_age, found.duplicate_window) == (3, 7200.0, 3600.0)
    assert found.events_max_bytes == 3 << 20
