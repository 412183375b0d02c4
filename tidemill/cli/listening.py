"""Bringing deliveries of a remote gateway to a local one, signed with the local source's secret."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from gateway.posting import signing_of
from gateway.recipes.resign import resign
from gateway.recipes.samples import batch_of
from gateway.sources import recipe_of
from tidemill.cli.send import webhook_url
from tidemill.kernel import backoff
from tidemill.kernel.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from tidemill.cli.feed_http import HttpFeed
    from tidemill.kernel.settings.model import Settings

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 15.0
_POST_SECONDS: Final = 60.0
_FRESH: Final = 30.0
"""Seconds for which a delivery is signed with the time at which it came, so that twice is the same."""
_OLDEST: Final = 60.0
_SHORT: Final = 5.0
"""Seconds: a stream that ends sooner is taken for broken."""
_COME_AGAIN: Final = frozenset({429, 502, 503, 504})
_PARTS: Final = frozenset({"seq", "id", "type", "received_at"})
Delivery = dict[str, Any]


@dataclass
class LocalGateway:
    """Posts deliveries to a source of the settings.

    Attributes:
        settings: where the source and the public listener stand.
        source: the source's name here.
        to: URL of the public listener, None for that of the settings.
    """

    settings: Settings
    source: str
    to: str | None
    _stamp: tuple[int, float] = field(default=(-1, 0.0), init=False)

    def __post_init__(self) -> None:
        """Find out at the start what would be wrong with every delivery.

        Raises:
            NotFoundError: there is no such source.
            SettingsError: its recipe or secret can't be used.
        """
        recipe = recipe_of(self.source, self.settings.source(self.source))
        self._recipe, self._secret = signing_of(self.settings, self.source, recipe)
        webhook_url(self.settings, self.source, self.to, None)

    async def post(self, client: httpx.AsyncClient, delivery: Delivery) -> httpx.Response:
        """Sign and post a delivery.

        Raises:
            SettingsError: it can't be signed.
            httpx.HTTPError: nobody answers.
        """
        target = webhook_url(self.settings, self.source, self.to, delivery.get("tenant"))
        base = self.settings.gateway.public_url
        known_as = f"{base.rstrip('/')}{urlsplit(target).path}" if base else target
        signed = resign(
            self._recipe,
            self._secret,
            delivery.get("headers", {}),
            self._body(delivery),
            event_type=str(delivery["type"]).partition(".")[2],
            event_id=str(delivery["id"]),
            timestamp=self._time(delivery),
            url=known_as,
            renamed=bool(delivery.get("replayof")),
            tokens=lambda: self.settings.source(self.source).resolve_tokens(self.settings.inputs.environ),
        )
        query = urlsplit(signed.url).query
        url = f"{target}?{query}" if query else target
        headers = [(name.encode(), value.encode("latin-1")) for name, value in signed.headers.items()]
        return await client.post(url, content=signed.body, headers=headers)

    def _body(self, delivery: Delivery) -> bytes:
        if "body64" in delivery:
            body = base64.b64decode(delivery["body64"])
        else:
            body = str(delivery["body"]).encode()
        if not delivery.get("item") or not self._recipe.event.split:
            return body
        return orjson.dumps(batch_of(self._recipe.event.split, orjson.loads(body)))

    def _time(self, delivery: Delivery) -> float:
        """Return the time to sign with: the same for every try of a delivery, as long as it is fresh."""
        seq, stamp = self._stamp
        if seq != delivery["seq"]:
            came, now = datetime.fromisoformat(delivery["received_at"]).timestamp(), time.time()
            stamp = came if 0 <= now - came < _FRESH else now
        elif time.time() - stamp > _OLDEST:
            stamp = time.time()
        self._stamp = (int(delivery["seq"]), stamp)
        return stamp


@dataclass
class Listening:
    """One way from a feed to a local gateway.

    Attributes:
        feed: the remote gateway's.
        gateway: where deliveries go.
        wanted: `source` and `type`, and where to begin: `since` or `after`.
        tell: says something to the user.
        limit: ends after so many, None for never.
        position: the sequence of the last delivery that was dealt with.
    """

    feed: HttpFeed
    gateway: LocalGateway
    wanted: Mapping[str, str | int]
    tell: Callable[[str], None]
    limit: int | None = None
    position: int | None = None

    async def deliveries(self) -> AsyncIterator[tuple[Delivery, httpx.Response | None]]:
        """Yield each delivery with the local answer; None where it can't be posted, or its body is gone.

        A connection that ends is opened again where it ended, after a growing pause.

        Raises:
            SettingsError: a key is missing, or the local source can't sign.
            PayloadError: the remote gateway can't use what is wanted.
            ControlError: the remote gateway couldn't be reached at the start.
        """
        failures, met, count = 0, False, 0
        async with httpx.AsyncClient(timeout=_POST_SECONDS, trust_env=False) as client:
            while True:
                reason: str | None = None
                began = time.monotonic()
                try:
                    async for line in self.feed.lines(self._place()):
                        met = True
                        if not line.keys() >= _PARTS:
                            self._note(line)
                            continue
                        yield line, await self._brought(client, line)
                        self.position, count = int(line["seq"]), count + 1
                        if count == self.limit:
                            return
                except ControlError as error:
                    if not met:
                        raise
                    reason = error.sentence
                lasted = time.monotonic() - began >= _SHORT
                failures = 0 if lasted else failures
                if reason is None and lasted:
                    continue  # it ended as streams do, after a while: the next one goes on
                failures += 1
                await self._pause(failures, f"the stream of {self.feed.url} broke: {reason or 'it ended'}")

    def _place(self) -> dict[str, str | int]:
        if self.position is None:
            return dict(self.wanted)
        place = {name: value for name, value in self.wanted.items() if name not in ("since", "after")}
        return place | {"after": self.position}

    def _note(self, line: Mapping[str, Any]) -> None:
        if line.get("missed"):
            self.tell(f"{line['missed']} numbers of the stream were gone before they could be read")
        if "position" in line:
            self.position = int(line["position"])

    async def _brought(self, client: httpx.AsyncClient, delivery: Delivery) -> httpx.Response | None:
        """Post a delivery until the local gateway answers for good."""
        if "body" not in delivery and "body64" not in delivery:
            return None
        failures = 0
        while True:
            try:
                response = await self.gateway.post(client, delivery)
            except (httpx.LocalProtocolError, httpx.InvalidURL) as error:
                self.tell(f"{delivery['id']} can't be posted: {error}")
                return None
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
            else:
                if response.status_code not in _COME_AGAIN:
                    return response
                reason = f"HTTP {response.status_code}"
            failures += 1
            await self._pause(failures, f"the local gateway didn't take {delivery['id']}: {reason}")

    async def _pause(self, failures: int, why: str) -> None:
        seconds = backoff.delay(
            failures, factor=2, min_delay=FIRST_PAUSE, max_delay=LONGEST_PAUSE, jitter=backoff.spread()
        )
        self.tell(f"{why}; again in {seconds:.1f} s")
        await asyncio.sleep(seconds)
