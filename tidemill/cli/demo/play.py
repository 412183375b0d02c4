"""Plays the scenes: posts each request, then follows what becomes of it through the control API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import httpx

from tidemill.cli.demo.scenes import Scene
from tidemill.cli.demo.stage import Stage

PATIENCE_SECONDS: Final = 30.0
_ENDED: Final = frozenset({"completed", "failed", "cancelled", "expired", "timed_out", "crashed"})


async def play(stage: Stage, playing: Sequence[Scene]) -> None:
    """Post everything and wait until each scene has its outcome, or patience ends."""
    async with httpx.AsyncClient(timeout=10) as client:
        for scene in playing:
            await _post(client, stage, scene)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(not _settled(scene) for scene in playing) and time.monotonic() < deadline:
            for scene in playing:
                if not _settled(scene):
                    await _follow(client, stage, scene)
            await asyncio.sleep(0.1)


async def _post(client: httpx.AsyncClient, stage: Stage, scene: Scene) -> None:
    scene.build(stage.secrets[scene.source])
    answer = await client.post(
        f"{stage.public}/webhooks/{scene.source}", content=scene.body, headers=scene.headers
    )
    document = answer.json()
    status = document.get("status")
    scene.answer = f"{answer.status_code} {status if answer.is_success else ''}".strip()
    if not answer.is_success:
        scene.outcome, scene.detail = "refused", str(document.get("detail", ""))
    elif status in ("duplicate", "quarantined"):
        scene.outcome = status


def _settled(scene: Scene) -> bool:
    return scene.outcome in _ENDED or scene.outcome in ("refused", "duplicate", "quarantined", "filtered")


async def _follow(client: httpx.AsyncClient, stage: Stage, scene: Scene) -> None:
    """Look up what the event's routing came to, and where its run stands."""
    answer = await client.get(f"{stage.control}/api/v1/events/{scene.event_id}")
    if not answer.is_success:
        return
    event: dict[str, Any] = answer.json()
    verdicts = [verdict for record in event["verdicts"] for verdict in record.get("verdicts", [])]
    for verdict in verdicts:
        if verdict["verdict"] == "filtered":
            scene.outcome = "filtered"
            scene.detail = f"{verdict['clause']}, but it is {verdict['value']!r}"
    if scene.task:
        await _follow_run(client, stage, scene)


async def _follow_run(client: httpx.AsyncClient, stage: Stage, scene: Scene) -> None:
    answer = await client.get(f"{stage.control}/api/v1/runs", params={"task": scene.task, "limit": 20})
    if not answer.is_success:
        return
    document = answer.json()
    for run in document["runs"] if isinstance(document, dict) else document:
        if (run.get("event") or {}).get("id") == scene.event_id:
            scene.outcome = run["status"]
            errors = run.get("errors") or []
            told = [f"{error['type']}: {error['message']}" for error in errors[-1:]]
            scene.detail = f"attempt {run['attempt']}, returned {run['result']!r}"
            if run["status"] != "completed" and told:
                scene.detail = f"attempt {run['attempt']}: {told[0]}"
