"""Which errors are the same one: by task, type, the places in the code, and a message without what varies."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

_FRAME: Final = re.compile(r'File "([^"]*)", line \d+, in (\S+)')
_VARIABLE: Final = re.compile(
    r"run_[0-9a-v]{26}"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|0x[0-9a-fA-F]+"
    r"|\b(?=\w*\d)\w{8,}\b"
    r"|\d+(?:\.\d+)?"
    r"|'[^']*'|\"[^\"]*\""
)
_FRAMES: Final = 3
_MESSAGE: Final = 200
_DIGITS: Final = 16


@lru_cache(maxsize=2048)
def fingerprint(task: str, error_type: str, message: str, traceback: str) -> str:
    """Return the fingerprint of a failure.

    Line numbers don't count, so that an edit elsewhere in a file makes no new error; neither do numbers, ids
    and quoted values in the message.
    """
    frames = [f"{file.rpartition('/')[2]}:{name}" for file, name in _FRAME.findall(traceback)][-_FRAMES:]
    plain = _VARIABLE.sub("?", message.partition("\n")[0][:_MESSAGE])
    text = "\n".join((task, error_type, plain, *frames))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_DIGITS]
