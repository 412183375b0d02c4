"""One frame for everything that carries bytes beside facts: a line of JSON, then the bytes as they came.

Raw bytes are never re-encoded on their way from a request to a handler; the line before them is JSON
without a newline inside, so that a frame can be read with any NATS tool.
"""

from __future__ import annotations

from typing import Any

import orjson

from tidemill.kernel.errors import PayloadError


def pack(facts: dict[str, Any], raw: bytes = b"") -> bytes:
    """Return the frame of `facts` and, behind the newline, `raw`."""
    return orjson.dumps(facts) + b"\n" + raw


def unpack(frame: bytes) -> tuple[dict[str, Any], bytes]:
    """Take a frame apart.

    Raises:
        PayloadError: the bytes are no frame.
    """
    line, newline, raw = frame.partition(b"\n")
    try:
        facts = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"not a frame: its first line is no JSON ({error})") from error
    if not newline or not isinstance(facts, dict):
        raise PayloadError("not a frame: it has no line of facts before its bytes")
    return facts, raw
