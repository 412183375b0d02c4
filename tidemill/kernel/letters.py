"""Dead letters: what was given up on, with every attempt's error and all that is needed to bring it back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tidemill.kernel.frames import pack, unpack
from tidemill.kernel.protocol.state import State


def letter(run: str, state: State) -> bytes:
    """Return the dead letter of a run that has ended: its facts, then its input."""
    created, end = state.created, state.end
    if created is None or end is None:
        raise AssertionError("only a run that was created and has ended leaves a dead letter")
    facts: dict[str, Any] = {
        "run": run,
        "task": created.task,
        "outcome": end.outcome,
        "attempts": [asdict(fault) for fault in state.faults],
        "event": created.event,
        "blob": created.blob,
        "seq": state.end_seq,
    }
    return pack(facts, created.raw)


def undecodable(subject: str, body: bytes, reason: str) -> bytes:
    """Return the dead letter of a message that nobody can read: where it stood, why, and its bytes."""
    return pack({"outcome": "undecodable", "subject": subject, "attempts": [{"message": reason}]}, body)


def open_letter(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Read a dead letter: its facts and the input that it carries.

    Raises:
        PayloadError: the bytes are no dead letter.
    """
    return unpack(body)
