"""Signing: the recipe engine run backwards, so that samples and tests speak as the provider does."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from gateway.inbound import Inbound
from gateway.recipes import selector, template
from gateway.recipes.moment import datetime_of
from gateway.recipes.signed import SignedContent
from gateway.recipes.signing_key import key_of
from gateway.recipes.verify import encode
from tidemill.kernel.clock import rfc3339
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from gateway.recipes.recipe import Hmac, Recipe, Signature
    from tidemill.kernel.settings.secrets import Secret


@dataclass(frozen=True, slots=True)
class _Posting:
    """One request that is to be signed."""

    body: bytes
    event_id: str
    timestamp: float
    url: str

    def inbound(self, headers: dict[str, str]) -> Inbound:
        """Return the request as its receiver sees it."""
        parts = urlsplit(self.url)
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        return Inbound("POST", parts.path or "/", parts.query, raw, self.body, self.timestamp)

    @property
    def origin(self) -> str | None:
        """The URL's scheme and host, None without a URL."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else None


def sign(  # noqa: PLR0913 - what a provider decides about one request, each by name
    recipe: Recipe,
    secret: Secret,
    body: bytes,
    *,
    event_type: str,
    event_id: str,
    timestamp: float,
    url: str = "",
    way: int = 0,
) -> dict[str, str]:
    """Return the headers of a POST of `body` as the recipe's provider would send it.

    Args:
        recipe: the provider's.
        secret: the secret as the provider shows it.
        body: the raw body; where its JSON holds the action, that is taken off the type.
        event_type: the provider's type, `issues.opened` or `issues`.
        event_id: the delivery's id.
        timestamp: seconds since the epoch.
        url: where it is posted to, for recipes that sign it.
        way: index of one of the recipe's ways to verify.

    Raises:
        SettingsError: the recipe can't be run backwards, or the secret isn't of its form.
    """
    headers = {"Content-Type": "application/json", **recipe.sender.headers}
    headers |= _named(recipe.event.type, _without_action(recipe, body, event_type))
    headers |= _named(recipe.event.id, event_id)
    if not recipe.verify:
        return headers
    return headers | _proof(recipe.verify[way], secret, headers, _Posting(body, event_id, timestamp, url))


def _named(texts: list[str], value: str) -> dict[str, str]:
    """Return the header that carries a value by itself, if the recipe reads the value from one."""
    for text in texts:
        found = template.lone_selector(text)
        if found is not None and found.place == "header":
            return {found.name: value}
    return {}


def _without_action(recipe: Recipe, body: bytes, event_type: str) -> str:
    for text in recipe.event.action:
        found = template.lone_selector(text)
        if found is not None and found.place == "body":
            action = selector.text_of(selector.find(_document(body), selector.path_of(found.name)))
            return event_type.removesuffix(f".{action}") if action else event_type
    return event_type


def _document(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _proof(way: Hmac, secret: Secret, headers: dict[str, str], posting: _Posting) -> dict[str, str]:
    """Return the headers that prove the request: signature, and signed id and time."""
    stamp = _stamp(way, posting.timestamp)
    proof = _at_header(way.id, posting.event_id)
    beside: dict[str, str] = {}
    if way.timestamp is not None and stamp is not None:
        at = selector.parse(way.timestamp.at)
        beside = {at.name: stamp} if at.place == "signature" else {}
        proof |= _at_header(way.timestamp.at, stamp)
    signed = SignedContent(way.signed, posting.origin).render(
        posting.inbound(headers | proof), stamp, posting.event_id
    )
    key = key_of(secret, way.secret)
    if signed is None or not key:
        raise SettingsError(
            "the request can't be signed: its secret isn't of the recipe's form, or a part of it is missing",
            hint=f"the recipe signs {way.signed!r}, with a secret written in {way.secret.encoding}",
        )
    return proof | _written(way.signature[0], hmac.digest(key, signed, way.algorithm), beside)


def _at_header(at: str | None, value: str) -> dict[str, str]:
    found = selector.parse(at) if at else None
    return {found.name: value} if found and found.place == "header" else {}


def _stamp(way: Hmac, timestamp: float) -> str | None:
    if way.timestamp is None:
        return None
    if way.timestamp.unit == "rfc3339":
        moment = datetime_of(timestamp)
        return rfc3339(moment) if moment else None
    return str(int(timestamp * (1000 if way.timestamp.unit == "ms" else 1)))


def _written(form: Signature, digest: bytes, beside: dict[str, str]) -> dict[str, str]:
    text = form.prefix + encode(digest, form.encoding).decode("ascii")
    if form.kv_sep is not None:
        items = {**beside, form.key or "": text}
        text = (form.item_sep or "").join(f"{key}{form.kv_sep}{value}" for key, value in items.items())
    headers = _at_header(form.at, text)
    if not headers:
        raise SettingsError(f"a signature at {form.at!r} can't be sent", hint="only headers can")
    return headers
