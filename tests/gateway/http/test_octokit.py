"""Real input: every example payload that GitHub's own package has, signed, over a socket, onto a broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.kernel.services.events import Events

if TYPE_CHECKING:
    from conftest import Connect, House

pytestmark = [pytest.mark.npm, pytest.mark.integration]
COUNT = 329


async def test_all_payloads_are_accepted_and_none_with_one_byte_changed(
    house: House,
    octokit_examples: list[tuple[str, dict[str, Any]]],
    connect: Connect,
    http_request: Callable[..., bytes],
    signed: Callable[..., dict[str, str]],
) -> None:
    wire = await connect(house.public)

    async def post(body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        await wire.send(http_request("/webhooks/github", body, headers))
        reply = await wire.reply()
        return reply.status, reply.json().get("check") or reply.json()["status"]

    sent = {}
    accepted, refused = [], []
    for number, (event, document) in enumerate(octokit_examples):
        body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        sent[f"d{number}"] = body
        headers = signed(body, event=event, guid=f"d{number}")
        accepted.append(await post(body, headers))
        at = len(body) // 2
        refused.append(await post(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :], headers))
    assert accepted == [(202, "accepted")] * COUNT
    assert refused == [(401, "signature_mismatch")] * COUNT
    events = Events(house.broker.bus, house.broker.blobs)
    stored = await events.list(limit=COUNT + 1)
    assert {event.id: await events.body(event) for event in stored} == sent
