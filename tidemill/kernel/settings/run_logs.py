"""The settings of what runs log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tidemill.kernel.settings.sections import Section
from tidemill.kernel.settings.values import ByteSize, Listed, Seconds


class RunLogsSettings(Section):
    """What handlers log or print, kept beside their runs."""

    enabled: bool = True
    """Whether it is kept."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is kept."""
    prints: bool = True
    """Whether what handlers print is kept as well; it goes to standard output either way."""
    max_run: Annotated[ByteSize, Field(ge=1 << 10, le=16 << 20)] = 256 << 10
    """Bytes of one execution that are kept; what it says beyond is counted."""
    max_age: Annotated[Seconds, Field(ge=1)] = 7 * 86400.0
    """How long it is kept."""
    max_bytes: Annotated[ByteSize, Field(ge=1 << 20)] = 256 << 20
    """Size of all runs' logs at which the oldest go."""
    redact: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Listed] = (
        "password",
        "passwd",
        "secret",
        "token",
        "authorization",
        "cookie",
        "api_key",
        "apikey",
        "credential",
    )
    """Words in the names of values, like `password=…` and `"api_key": "…"`, that are kept as stars."""
