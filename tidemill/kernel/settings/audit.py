"""The settings of the record of changes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tidemill.kernel.settings.sections import Section
from tidemill.kernel.settings.values import ByteSize, Seconds


class AuditSettings(Section):
    """The record of changes: who did what, when, and from where."""

    max_age: Annotated[Seconds, Field(ge=1)] = 365 * 86400.0
    """How long it is kept."""
    max_bytes: Annotated[ByteSize, Field(ge=1 << 20)] = 256 << 20
    """Size at which its oldest entries go."""
