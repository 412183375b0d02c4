"""The settings of the delivery log."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tidemill.kernel.settings.sections import Section
from tidemill.kernel.settings.values import ByteSize, Seconds


class DeliveriesSettings(Section):
    """The log of requests: what each came to, and how long it took."""

    max_age: Annotated[Seconds, Field(ge=1)] = 7 * 86400.0
    """How long the log is kept."""
    max_bytes: Annotated[ByteSize, Field(ge=1 << 20)] = 256 << 20
    """Size at which its oldest entries go; a quarter of it is for requests that brought nothing."""
