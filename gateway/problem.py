"""Errors as RFC 9457 problem details (`application/problem+json`), for both listeners."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import orjson

from tidemill.kernel.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConflictError,
    ExpiredError,
    HistoryError,
    NotAllowedError,
    NotFoundError,
    PayloadError,
    ProviderError,
    SettingsError,
    StreamFullError,
    TidemillError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE: Final = b"application/problem+json"
TYPE_PREFIX: Final = "urn:tidemill:problem:"
RETRY_SECONDS: Final = 2
RETRY_AFTER: Final = (b"retry-after", str(RETRY_SECONDS).encode())

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem as a client sees it.

    Attributes:
        status: the HTTP status.
        kind: the last part of the problem's `type`, e.g. `unknown-source`; docs/problems.md lists them.
        detail: a sentence about this occurrence.
        hint: what to do next; empty where there is nothing to say.
        members: extension members, e.g. `check`.
        headers: header fields that belong to the answer, e.g. `Allow`.
    """

    status: int
    kind: str
    detail: str
    hint: str = ""
    members: Mapping[str, str] = field(default_factory=dict)
    headers: Headers = ()

    def body(self) -> bytes:
        """Return the problem as JSON."""
        document = {
            "type": TYPE_PREFIX + self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        if self.hint:
            document["hint"] = self.hint
        return orjson.dumps(document)


UNEXPECTED: Final = Problem(
    500,
    "internal",
    "Something went wrong here; the log has the details.",
    "If it stays so, look into the log or report it.",
)

_OF_ERROR: Final[tuple[tuple[type[TidemillError], int, str], ...]] = (
    (NotFoundError, 404, "not-found"),
    (ExpiredError, 410, "expired"),
    (ConflictError, 409, "conflict"),
    (NotAllowedError, 403, "not-allowed"),
    (PayloadError, 422, "payload"),
    (ProviderError, 503, "identity-provider"),
    (HistoryError, 503, "history-away"),
    (StreamFullError, 503, "storage-full"),
    (BrokerUnavailableError, 503, "broker-away"),
    (BrokerError, 503, "broker-refused"),
    (SettingsError, 503, "settings"),
)


def of_error(error: TidemillError) -> Problem:
    """Return the problem that an error of the product is for a client of the control listener."""
    for kind, status, name in _OF_ERROR:
        if isinstance(error, kind):
            headers = (RETRY_AFTER,) if status == HTTPStatus.SERVICE_UNAVAILABLE else ()
            return Problem(status, name, error.sentence, error.hint, headers=headers)
    return UNEXPECTED


def method_not_allowed(allowed: str) -> Problem:
    """Return the problem of a method that a resource doesn't have."""
    return Problem(
        405, "method-not-allowed", f"Only {allowed} works here.", headers=((b"allow", allowed.encode()),)
    )
