"""The section of events: how long they are kept, and who may post them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from tidemill.kernel.settings.keys import HASH_PATTERN
from tidemill.kernel.settings.sections import HttpsUrl, Section
from tidemill.kernel.settings.values import ByteSize, Listed, Seconds
from tidemill.kernel.subjects import pattern_problem

TokenAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


def _check_pattern(value: str) -> str:
    problem = pattern_problem(value)
    if problem:
        raise ValueError(f"not a pattern of types: {problem}")
    return value


Sources = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Listed]
Types = Annotated[tuple[Annotated[str, AfterValidator(_check_pattern)], ...], Listed]


class EventKey(Section):
    """An API key with which an internal service posts events, stored as a hash."""

    name: Annotated[str, Field(min_length=1)]
    """Who uses the key; shown in logs."""
    hash: Annotated[str, Field(pattern=f"^{HASH_PATTERN.pattern}$")]
    """The key's hash: `sha256:` and 64 hexadecimal digits."""
    sources: Sources = ("*",)
    """Sources that it may post for; `*` stands for anything, as in `/shop/*`."""
    types: Types = (">",)
    """Types that it may post: patterns as a task's `on`, like `shop.order.*`."""
    until: AwareDatetime | None = None
    """Instant from which it no longer counts."""


class TokenScope(Section):
    """What a scope of a bearer token allows."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    """The scope, or another value of the claim."""
    sources: Sources = ("*",)
    """Sources that may be posted for with it; `*` stands for anything."""
    types: Types = (">",)
    """Types that may be posted with it: patterns as a task's `on`."""


class TokenIssuer(Section):
    """Somebody who issues bearer tokens: an authorisation server."""

    issuer: HttpsUrl
    """What `iss` of the tokens is, character by character."""
    audience: Annotated[str, Field(min_length=1)]
    """Whom the tokens must be for: one of `aud`."""
    keys: HttpsUrl | None = None
    """Address of its key set; where it is missing the issuer's OpenID configuration names it."""
    algorithms: Annotated[tuple[TokenAlgorithm, ...], Field(min_length=1), Listed] = ("RS256", "ES256")
    """What tokens may be signed with; shared secrets are none of it."""
    leeway: Annotated[Seconds, Field(le=600)] = 60.0
    """How far clocks may differ."""
    claim: Annotated[str, Field(min_length=1)] = "scope"
    """Claim that holds the scopes: a text with spaces or a list; `a.b` for `b` inside of `a`."""
    scopes: Annotated[tuple[TokenScope, ...], Field(min_length=1), Listed]
    """What scopes allow; a token with none of them may post nothing."""


class EventsSettings(Section):
    """The stream of accepted events."""

    max_age: Annotated[Seconds, Field(ge=1)] = 7 * 86400.0
    """How long events are kept."""
    max_bytes: ByteSize = 1 << 30
    """Size at which new events are refused with 503."""
    duplicate_window: Annotated[Seconds, Field(ge=0.1)] = 86400.0
    """How long the same delivery is recognised as a duplicate."""
    keys: Annotated[tuple[EventKey, ...], Listed] = ()
    """API keys for `POST /events`; while there is none, nobody may post."""
    issuers: Annotated[tuple[TokenIssuer, ...], Listed] = ()
    """Who issues bearer tokens (OAuth 2.0) for `POST /events`."""
