"""Trust on first use on a real gateway: over HTTP, across a restart, shown to the operator, forgotten."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from conftest import BrokerProcess, House

    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
HOOK = "b537207f20cbfa02357cf448134da559"
RECIPE = {
    "verify": {"signature": {"at": "header:X-Hook-Signature"}},
    "event": {"split": "body:events", "type": "{item:action}"},
    "handshake": {
        "name": "hook secret",
        "when": {"header:X-Hook-Secret": True},
        "learn": "header:X-Hook-Secret",
        "answer": {"headers": {"X-Hook-Secret": "{header:X-Hook-Secret}"}},
    },
}
SOURCE = f"recipe = '{json.dumps(RECIPE)}'\nlearn = true\n"


async def introduce(house: House, secret: str) -> Any:
    url = f"http://{house.public}/webhooks/asana"
    return await house.client.post(url, headers={"x-hook-secret": secret})


async def deliver(house: House, secret: str) -> Any:
    body = b'{"events": [{"action": "added"}, {"action": "changed"}]}'
    signature = hmac.digest(secret.encode(), body, "sha256").hex()
    headers = {"x-hook-signature": signature, "content-type": "application/json"}
    return await house.client.post(f"http://{house.public}/webhooks/asana", content=body, headers=headers)


async def test_the_first_secret_counts_until_it_is_forgotten(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    settings = settled(broker.url, names, **{"sources.asana": SOURCE})
    async with housed(settings) as house:
        assert (await deliver(house, HOOK)).status_code == 401
        shown = await house.ask("sources/asana/secret/reveal", {})
        assert shown.status_code == 404
        answer = await introduce(house, HOOK)
        assert (answer.status_code, answer.headers["x-hook-secret"]) == (200, HOOK)
        assert (await introduce(house, "somebody-else-s-secret")).status_code == 409
        taken = await deliver(house, HOOK)
        assert taken.status_code == 202
        assert [event["type"] for event in taken.json()["events"]] == ["asana.added", "asana.changed"]
    async with housed(settings) as house:
        shown = await house.ask("sources/asana/secret/reveal", {})
        assert (shown.json()["secret"], shown.json()["client"]) == (HOOK, "127.0.0.1")
        assert shown.headers["cache-control"] == "no-store"
        assert (await introduce(house, "somebody-else-s-secret")).status_code == 409
        assert (await introduce(house, HOOK)).status_code == 200
        assert (await deliver(house, HOOK)).status_code == 202
        gone = await house.client.delete(f"{house.control}/sources/asana/secret")
        assert (gone.status_code, gone.json()) == (200, {"forgotten": "asana"})
        assert (await house.client.delete(f"{house.control}/sources/asana/secret")).status_code == 404
        assert (await deliver(house, HOOK)).status_code == 401
        assert (await introduce(house, "somebody-else-s-secret")).status_code == 200


async def test_readers_do_not_get_to_see_it(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    key = create_key()
    keys = f'keys = [{{ name = "ci", hash = "{hash_key(key)}", role = "read" }}]\n'
    settings = settled(broker.url, names, control=keys, **{"sources.asana": SOURCE})
    async with housed(settings) as house:
        assert (await introduce(house, HOOK)).status_code == 200
        reply = await house.ask("sources/asana/secret/reveal", {}, authorization=f"Bearer {key}")
        assert reply.status_code == 403
        assert HOOK not in reply.text
