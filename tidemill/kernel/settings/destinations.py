"""The sections of destinations: where events are forwarded to, and how."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tidemill.kernel.errors import DefinitionError, SettingsError
from tidemill.kernel.settings.secrets import ENVIRONMENT, FILE, SecretRef
from tidemill.kernel.settings.sections import Section, SourceSecret, active_values, secret_table
from tidemill.kernel.settings.values import Listed, Seconds, SecretValue, Table
from tidemill.kernel.subjects import pattern_problem
from tidemill.kernel.where import compile_where

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tidemill.kernel.settings.secrets import Secret

DESTINATION_NAME: Final = r"^[a-z0-9]+([_-]?[a-z0-9]+)*$"
_URL: Final = re.compile(r"https?://[^/\s?#]+[^\s#]*", re.ASCII)
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS: Final = frozenset(
    {
        *("host", "content-length", "content-type", "transfer-encoding", "connection", "upgrade", "te"),
        *("trailer", "expect", "keep-alive", "proxy-connection", "traceparent", "tracestate", "user-agent"),
    }
)


def check_url(value: SecretRef) -> SecretRef:
    """Return a reference to an address; one that stands in the settings itself is looked at.

    Raises:
        ValueError: it is no address.
    """
    problem = _url_problem(value.text)
    if problem and not value.text.startswith((ENVIRONMENT, FILE)):
        raise ValueError(problem)
    return value


def _url_problem(text: str) -> str | None:
    if not _URL.fullmatch(text):
        return "not an address: write http://… or https://…, without a fragment"
    if "@" in text.partition("://")[2].partition("/")[0]:
        return "no credentials in the address: put them into headers, as env:NAME or file:PATH"
    return None


def reveal_url(reference: SecretRef, environ: Mapping[str, str], hint: str) -> str:
    """Return the address that a reference leads to.

    Raises:
        SettingsError: it can't be resolved, or is none.
    """
    text = reference.resolve(environ).reveal()
    if problem := _url_problem(text):
        raise SettingsError(f"url ({reference}): {problem}", hint=hint)
    return text


def reveal_headers(headers: Mapping[str, SecretRef], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of headers.

    Raises:
        SettingsError: a value can't be resolved, or can't stand in a header.
    """
    found = {}
    for name, reference in headers.items():
        value = reference.resolve(environ).reveal()
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise SettingsError(
                f"the value of header {name} ({reference}) can't stand in a header",
                hint="printable ASCII on one line, without space around it",
            )
        found[name] = value
    return found


def _check_pattern(value: str) -> str:
    if problem := pattern_problem(value):
        raise ValueError(f"not a pattern of types: {problem}")
    return value


def _check_where(value: str) -> str:
    try:
        compile_where(value)
    except DefinitionError as error:
        raise ValueError(error.sentence) from None
    return value


def _check_header(value: str) -> str:
    name = value.lower()
    if not _HEADER.fullmatch(value):
        raise ValueError("not the name of a header")
    if name in _OURS or name.startswith(("webhook-", "ce-")):
        raise ValueError(f"{value} is set by the forwarding itself")
    return name


HeaderName = Annotated[str, AfterValidator(_check_header)]
Pattern = Annotated[str, AfterValidator(_check_pattern)]


class DestinationRetry(Section):
    """When a delivery that failed is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 10
    """Attempts in all; then it is a dead letter."""
    min_delay: Annotated[Seconds, Field(gt=0)] = 5.0
    """The first delay."""
    factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = 4.0
    """What each further delay is multiplied with."""
    max_delay: Seconds = 21600.0
    """The longest delay."""

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.min_delay > self.max_delay:
            raise ValueError("min_delay is longer than max_delay")
        return self


class DestinationSettings(Section):
    """An HTTP address that events are forwarded to."""

    url: Annotated[SecretValue, AfterValidator(check_url)]
    """Address that events are posted to; a secret, since it may hold a token."""
    on: Annotated[tuple[Pattern, ...], Field(min_length=1), Listed]
    """Types of the events: patterns as a task's `on`, like `stripe.>`."""
    where: Annotated[str, AfterValidator(_check_where)] | None = None
    """CEL condition that they must fulfil besides, as a task's `where`."""
    secrets: Annotated[tuple[Annotated[SourceSecret, BeforeValidator(secret_table)], ...], Listed] = ()
    """Secrets (`whsec_…`) that requests are signed with by Standard Webhooks; each active one signs."""
    headers: Annotated[dict[HeaderName, SecretValue], Table] = {}  # noqa: RUF012 - pydantic copies it
    """Headers to send besides; their values are secrets."""
    body: Literal["raw", "cloudevent"] = "raw"
    """`raw`: the body as it came, attributes as `ce-` headers; `cloudevent`: one JSON document with both."""
    timeout: Annotated[Seconds, Field(ge=0.1, le=300)] = 15.0
    """How long one attempt may take, from the look-up of the name to the answer."""
    retry: Annotated[DestinationRetry, Table] = DestinationRetry()
    """When a failed attempt is followed by another: the keys below."""
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Requests a second, per process."""
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Requests at the same time, over all processes."""
    breaker_failures: Annotated[int, Field(ge=1)] = 5
    """Failures in a row, in one process, after which it only tries now and then."""
    breaker_pause: Annotated[Seconds, Field(ge=0.1, le=3600)] = 30.0
    """How long it waits between two such tries."""
    allow_private: bool = False
    """Whether addresses that aren't public may be connected to: loopback, private, link-local."""

    def address(self, environ: Mapping[str, str]) -> str:
        """Return the address.

        Raises:
            SettingsError: it can't be resolved, or is none.
        """
        return reveal_url(self.url, environ, "see docs/forwarding.md")

    def signing_secrets(
        self, environ: Mapping[str, str], moment: datetime | None = None
    ) -> tuple[Secret, ...]:
        """Return the values of the secrets that count at an instant, by default now.

        Raises:
            SettingsError: one of them can't be resolved.
        """
        return active_values(self.secrets, environ, moment)

    def header_values(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the headers to send besides.

        Raises:
            SettingsError: a value can't be resolved, or can't stand in a header.
        """
        return reveal_headers(self.headers, environ)
