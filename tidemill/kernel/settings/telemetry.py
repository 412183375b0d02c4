"""The settings of traces."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, HttpUrl

from tidemill.kernel.settings.sections import Section
from tidemill.kernel.settings.values import SecretValue


class TelemetrySettings(Section):
    """Where traces go; nowhere without an address."""

    traces_url: HttpUrl | None = None
    """A collector's address for OTLP over HTTP, like `http://127.0.0.1:4318/v1/traces`."""
    headers: dict[str, SecretValue] = {}  # noqa: RUF012 - pydantic gives each its own
    """Sent with every batch: what the collector wants to know its senders by."""
    ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The part of new traces that is recorded; a trace that came with a request has decided for itself."""
    service: str = "tidemill"
    """What processes are called; the kind of the process is added: `tidemill-gateway`."""
