"""Traces: what a request or a run led to, across processes, as W3C Trace Context ties it together.

A webhook's `traceparent` becomes the event's, the event's becomes the run's, and the run's its children's. As
long as no collector is configured nothing is recorded, and what came in is handed on as it is.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["internal", "server", "consumer"]
Attribute = str | int | float | bool

_PARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Span:
    """A piece of work that somebody may look at later; this one nobody does."""

    def set(self, name: str, value: Attribute) -> None:
        """Say something about it; names follow OpenTelemetry's semantic conventions where there is one."""

    def fail(self, what: str) -> None:
        """Say that it came to no good."""


_UNSEEN: Final = Span()


class Traces:
    """Records spans; this one doesn't.

    Attributes:
        enabled: whether spans are recorded.
    """

    enabled: bool = False

    @contextmanager
    def span(
        self,
        name: str,  # noqa: ARG002 - the seam's
        *,
        kind: Kind = "internal",  # noqa: ARG002 - the same
        parent: str | None = None,  # noqa: ARG002 - the same
        **attributes: Attribute,  # noqa: ARG002 - the same
    ) -> Iterator[Span]:
        """Record what happens inside of the block as a span; what raises an `Exception` has failed.

        Args:
            name: what it is, with few different values.
            kind: on which side of a connection it stands.
            parent: the `traceparent` that it belongs below; the present span without it.
            attributes: what is known of it; `__` in a name stands for a dot.
        """
        yield _UNSEEN

    def parent(self) -> str | None:
        """Return the `traceparent` of the present span, None where there is none."""
        return None

    def close(self) -> None:
        """Hand on what is left."""


def traceparent(text: str | None) -> str | None:
    """Return a `traceparent` that is well formed, None for any other text (Trace Context, 3.2.2)."""
    return text if text is not None and _PARENT.fullmatch(text) else None
