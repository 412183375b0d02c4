"""From an exception to the fault that a journal keeps: type, message, the user's part of the traceback."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

from tidemill.kernel.protocol.records import Fault

_HOUSE: Final = str(Path(__file__).parent)
_SDK: Final = str(Path(__file__).parent.parent / "tidemill")
_TRACEBACK_LIMIT: Final = 16_384
_MESSAGE_LIMIT: Final = 4_096


def fault_of(error: BaseException, *, attempt: int, at: float) -> Fault:
    """Return what is kept of an exception; the exception itself is not, nor what it refers to."""
    return Fault(_clean(_name(type(error))), _clean(_message(error)), _clean(_trace(error)), attempt, at)


def _name(kind: type[BaseException]) -> str:
    """Return an exception's name as its raiser knows it: ours and Python's need no module."""
    ours = kind.__module__.partition(".")[0] in ("tidemill", "consumers", "builtins")
    return kind.__name__ if ours else f"{kind.__module__}.{kind.__qualname__}"


def _clean(text: str) -> str:
    """Return text that has a UTF-8 form: file names in messages may hold lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def _message(error: BaseException) -> str:
    try:
        return str(error)[:_MESSAGE_LIMIT]
    except Exception as second:  # noqa: BLE001 - a user's __str__ may do anything
        return f"(its message can't be shown: {type(second).__name__})"


def _trace(error: BaseException) -> str:
    summary = traceback.TracebackException.from_exception(error, compact=True)
    kept = [frame for frame in summary.stack if not frame.filename.startswith((_HOUSE, _SDK))]
    summary.stack = traceback.StackSummary.from_list(kept)
    text = "".join(summary.format())
    return text if len(text) <= _TRACEBACK_LIMIT else f"…{text[-_TRACEBACK_LIMIT:]}"
