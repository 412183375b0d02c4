"""JSON from an identity provider: bounded in time and size, without redirects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx
import orjson

from tidemill.kernel.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS: Final = 10.0
MAX_BYTES: Final = 1 << 20
_HINT: Final = "is the identity provider up, and is its address in the settings right?"


async def fetch_json(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    auth: httpx.Auth | None = None,
    bearer: str | None = None,
) -> dict[str, Any]:
    """GET a JSON object, or POST a form and return the JSON object that it is answered with.

    Raises:
        ProviderError: there is none to be had.
    """
    headers = {"accept": "application/json"} | ({"authorization": f"Bearer {bearer}"} if bearer else {})
    method = "GET" if form is None else "POST"
    try:
        async with (
            httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, auth=auth) as client,
            client.stream(method, url, data=form, headers=headers) as response,
        ):
            body = await _body(response)
    except httpx.HTTPError as error:
        raise ProviderError(
            f"{url} can't be reached: {str(error) or type(error).__name__}", hint=_HINT
        ) from error
    if response.status_code != httpx.codes.OK:
        raise ProviderError(f"{url} answered {response.status_code}{_reason(body)}", hint=_HINT)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProviderError(f"{url} answered with no JSON", hint=_HINT) from error
    if not isinstance(document, dict):
        raise ProviderError(f"{url} answered with no JSON object", hint=_HINT)
    return document


async def _body(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ProviderError(f"{response.url} answered with more than {MAX_BYTES} bytes", hint=_HINT)
    return body


def _reason(body: bytes) -> str:
    """Return the error's name, as OAuth's answers have it (RFC 6749, 5.2)."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return f": {found['error']}" if isinstance(found, dict) and isinstance(found.get("error"), str) else ""
