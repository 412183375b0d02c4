"""From an exception to the fault that a journal keeps: type, message, the user's part of the traceback.

All of it is asked of the user's code, since an exception's class may define anything: whatever that raises,
`SystemExit` too, costs the text in question and nothing else.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tidemill.kernel.protocol.records import Fault

_HOUSE: Final = str(Path(__file__).parent)
_SDK: Final = str(Path(__file__).parent.parent / "tidemill")
_TRACEBACK_LIMIT: Final = 16_384
_MESSAGE_LIMIT: Final = 4_096
_TYPE_NAME: Final = vars(type)["__name__"]
_TRACEBACK: Final = vars(BaseException)["__traceback__"]


def fault_of(error: BaseException, *, attempt: int, at: float) -> Fault:
    """Return what is kept of an exception; the exception itself is not, nor what it refers to."""
    name = told("its type", lambda: _name(type(error)))
    message = told("its message", lambda: str(error))[:_MESSAGE_LIMIT]
    try:
        trace = _clean(_trace(traceback.TracebackException.from_exception(error, compact=True)))
    except BaseException:  # noqa: BLE001 - its notes, its cause and more may be properties of the user's
        trace = _clean(_bare_trace(error, f"{name}: {message}\n"))
    return Fault(name, message, _cut(trace), attempt, at)


def told(what: str, tell: Callable[[], str]) -> str:
    """Return a text that the user's code makes, or say that `what` can't be shown."""
    try:
        return _clean(tell())
    except BaseException as error:  # noqa: BLE001 - even sys.exit must not end the worker here
        return f"({what} can't be shown: {_TYPE_NAME.__get__(type(error))})"


def _name(kind: type[BaseException]) -> str:
    """Return an exception's name as its raiser knows it: ours and Python's need no module."""
    ours = kind.__module__.partition(".")[0] in ("tidemill", "consumers", "builtins")
    return kind.__name__ if ours else f"{kind.__module__}.{kind.__qualname__}"


def _clean(text: str) -> str:
    """Return plain text that has a UTF-8 form: file names in messages may hold lone surrogates."""
    return str.encode(text, "utf-8", "backslashreplace").decode()


def _trace(summary: traceback.TracebackException) -> str:
    summary.stack = _users(summary.stack)
    return "".join(summary.format())


def _bare_trace(error: BaseException, last_line: str) -> str:
    """Return the stack alone, which needs nothing that the exception's class could have replaced."""
    stack = _users(traceback.extract_tb(_TRACEBACK.__get__(error)))
    return "".join(["Traceback (most recent call last):\n", *stack.format(), last_line])


def _users(stack: traceback.StackSummary) -> traceback.StackSummary:
    kept = [frame for frame in stack if not frame.filename.startswith((_HOUSE, _SDK))]
    return traceback.StackSummary.from_list(kept)


def _cut(text: str) -> str:
    return text if len(text) <= _TRACEBACK_LIMIT else f"…{text[-_TRACEBACK_LIMIT:]}"
