"""The feed of deliveries of a remote gateway, line by line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import orjson

from tidemill.http_transport import HttpTransport
from tidemill.kernel.errors import ControlError

_TIMEOUT: Final = httpx.Timeout(10.0, read=35.0)
"""Seconds without a byte are three missing heartbeats."""


class HttpFeed(HttpTransport):
    """Listens to a control listener."""

    async def lines(self, wanted: Mapping[str, str | int]) -> AsyncIterator[dict[str, Any]]:
        """Yield the feed's lines until it ends; who takes them slowly slows it down.

        Raises:
            SettingsError: the listener wants another key.
            PayloadError: it can't use what is wanted.
            ControlError: it can't be reached, answers something else, or the connection broke.
        """
        url = f"{self.url.rstrip('/')}/api/v1/deliveries/stream?{urlencode(wanted)}"
        headers = {"Accept": "application/x-ndjson, application/problem+json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            async with (
                self._new_client() as client,
                client.stream("GET", url, headers=headers, timeout=_TIMEOUT) as response,
            ):
                if not response.is_success:
                    await response.aread()
                    self._answer(response)
                async for line in _split(response.aiter_bytes()):
                    yield self._line(line)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ControlError(
                f"GET {url} failed: {str(error) or type(error).__name__}",
                hint="is that the control listener of a gateway that runs?",
            ) from error

    def _line(self, line: bytes) -> dict[str, Any]:
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ControlError(f"{self.url} sent a line that is no JSON: {error}") from error
        if not isinstance(document, dict):
            raise ControlError(f"{self.url} sent a line that is no object")
        return document


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of some chunks, at newlines alone: JSON may hold other separators of lines."""
    parts: list[bytes] = []
    async for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join((*parts, line))
            parts = []
        parts.append(rest)
