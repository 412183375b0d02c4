"""What the code under test has answered the sender of its event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Replied:
    """An answer, as the sender gets it.

    Attributes:
        run_id: the run that has answered.
        status: of the answer.
        media_type: of its body.
        body: its bytes.
    """

    run_id: str
    status: int
    media_type: str
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body as parsed JSON."""
        return orjson.loads(self.body)
