"""A gateway that is killed right after it has refused a request: what it kept is there."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.posting import build
from tests.conftest import free_port
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from conftest import BrokerProcess, Service

    from tidemill.kernel.subjects import Names


@pytest.mark.crash
@pytest.mark.integration
async def test_what_was_kept_outlives_kill_9(
    broker: BrokerProcess, names: Names, tmp_path: Path, service: Callable[..., Service]
) -> None:
    file, ports = tmp_path / "tidemill.toml", (free_port(), free_port())
    public, control = (f"http://127.0.0.1:{port}" for port in ports)

    def settings(secret: str) -> Settings:
        file.write_text(
            f'[gateway]\nlisten = "127.0.0.1:{ports[0]}"\n[control]\nlisten = "127.0.0.1:{ports[1]}"\n'
            f'[nats]\nurl = "{broker.url}"\nnamespace = "{names.namespace}"\n'
            f'[sources.github]\npreset = "github"\nsecrets = ["{secret}"]\nkeep_refused = true\n'
        )
        return Settings.load(file, {})

    right = settings("right")
    settings("wrong")
    gateway = service("gateway")
    gateway.wait_for("control listener on")
    async with httpx.AsyncClient(trust_env=False) as client:
        for name in ("one", "two"):
            posting = build(right, "github", "push", event_id=name)
            url = f"{public}/webhooks/github"
            answer = await client.post(url, content=posting.body, headers=posting.headers)
            assert answer.status_code == 401
        await asyncio.to_thread(gateway.end, signal.SIGKILL)
        settings("right")
        gateway = service("gateway")
        await asyncio.to_thread(gateway.wait_for, "control listener on")
        for verdicts in (["accepted", "accepted"], []):
            answer = await client.post(f"{control}/api/v1/deliveries/reverify", json={})
            assert [row["verdict"] for row in answer.json()["reverified"]] == verdicts
        found = (await client.get(f"{control}/api/v1/events")).json()["events"]
    assert sorted(event["id"] for event in found) == ["one", "two"]
