"""A message as a signed webhook: JSON by Standard Webhooks, under the same id however often it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from consumers.alerts.channels.posting import post
from consumers.forwarding.signing import key_of, signature_headers
from tidemill.kernel import clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumers.alerts.budget import Outcome
    from consumers.alerts.channels.posting import Way
    from tidemill.kernel.settings.alerts import AlertWebhookSettings


def body_of(document: Mapping[str, Any], at: float) -> bytes:
    """Return what is posted."""
    kind = f"tidemill.alert.{document['status']}"
    return orjson.dumps({"type": kind, "timestamp": clock.rfc3339_at(at), "data": document})


async def send(settings: AlertWebhookSettings, way: Way, document: Mapping[str, Any], at: float) -> Outcome:
    """Post a message.

    Raises:
        SettingsError: the address, a secret or a header can't be used.
    """
    body, now = body_of(document, at), clock.now()
    keys = [key_of(secret.value.resolve(way.environ)) for secret in settings.secrets if secret.active(now)]
    signature = signature_headers(str(document["id"]), int(now.timestamp()), body, keys)
    headers = {"content-type": "application/json", **settings.header_values(way.environ), **signature}
    url = settings.address(way.environ)
    return await post(url, headers, body, way, allow_private=settings.allow_private)
