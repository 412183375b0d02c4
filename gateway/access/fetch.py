"""JSON from an identity provider: bounded in time and size, without redirects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import orjson

from gateway.keys.places import Ask, FetchError
from tidemill.kernel.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.keys.places import Fetch

_OK: Final = 200
_HINT: Final = "is the identity provider up, and is its address in the settings right?"
_FORM: Final = "application/x-www-form-urlencoded"


async def fetch_json(
    fetch: Fetch, url: str, *, form: Mapping[str, str] | None = None, authorization: str | None = None
) -> dict[str, Any]:
    """GET a JSON object, or POST a form and return the JSON object that it is answered with.

    Args:
        fetch: asks servers on the network.
        url: an address of the operator's, wherever that is.
        form: what is posted.
        authorization: the value of the header.

    Raises:
        ProviderError: there is none to be had.
    """
    headers = {"accept": "application/json"}
    headers |= {"authorization": authorization} if authorization is not None else {}
    ask = Ask(url, headers=headers, public=False, plain=True)
    if form is not None:
        ask = ask._replace(
            method="POST", headers=headers | {"content-type": _FORM}, body=urlencode(form).encode()
        )
    try:
        reply = await fetch(ask)
    except FetchError as error:
        raise ProviderError(f"{url} can't be reached: {error}", hint=_HINT) from error
    if reply.status != _OK:
        raise ProviderError(f"{url} answered {reply.status}{_reason(reply.body)}", hint=_HINT)
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise ProviderError(f"{url} answered with no JSON", hint=_HINT) from error
    if not isinstance(document, dict):
        raise ProviderError(f"{url} answered with no JSON object", hint=_HINT)
    return document


def _reason(body: bytes) -> str:
    """Return the error's name, as OAuth's answers have it (RFC 6749, 5.2)."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return f": {found['error']}" if isinstance(found, dict) and isinstance(found.get("error"), str) else ""
