"""Dead letters: what was given up on, with every attempt's error and all that is needed to bring it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import orjson

from tidemill.kernel.frames import pack, unpack
from tidemill.kernel.protocol.records import Fault
from tidemill.kernel.protocol.state import State

_ERRORS_LIMIT: Final = 400_000
"""Bytes of a letter's errors: letter and input stay below the broker's limit of 1 MiB for a message."""
_BODY_LIMIT: Final = 900_000
_SHORT_MESSAGE: Final = 500


def letter(run: str, state: State) -> bytes:
    """Return the dead letter of a run that has ended: its facts, then its input."""
    created, end = state.created, state.end
    if created is None or end is None:
        raise AssertionError("only a run that was created and has ended leaves a dead letter")
    facts: dict[str, Any] = {
        "run": run,
        "task": created.task,
        "outcome": end.outcome,
        "attempts": _within_limit(state.faults),
        "event": created.event,
        "blob": created.blob,
        "seq": state.end_seq,
    }
    return pack(facts, created.raw)


def _within_limit(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Return faults as data; where they are too many the older ones lose their tracebacks, then go.

    The journal keeps them all for as long as the letter stands.
    """
    kept: list[dict[str, Any]] = []
    left = _ERRORS_LIMIT
    for fault in reversed(faults):
        facts = asdict(fault)
        if (size := len(orjson.dumps(facts))) > left // 2:
            facts = asdict(replace(fault, traceback="", message=fault.message[:_SHORT_MESSAGE]))
            size = len(orjson.dumps(facts))
        if size > left:
            break
        left -= size
        kept.append(facts)
    return kept[::-1]


def undecodable(subject: str, body: bytes, reason: str) -> bytes:
    """Return the dead letter of a message that nobody can read: where it stood, why, and its first bytes."""
    facts = {"outcome": "undecodable", "subject": subject, "attempts": [{"message": reason[:_SHORT_MESSAGE]}]}
    return pack(facts | {"bytes": len(body)}, body[:_BODY_LIMIT])


def open_letter(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Read a dead letter: its facts and the input that it carries.

    Raises:
        PayloadError: the bytes are no dead letter.
    """
    return unpack(body)
