"""What is fuzzed of the JSON reader: it agrees with the oracle, value by value, on any bytes."""

from __future__ import annotations

from typing import Any

from gateway.strictjson import UnsoundJsonError, loads
from tests.gateway.json_oracle import judged_slowly

DICTIONARY = (
    *("true", "false", "null", "NaN", "Infinity", "-Infinity", "1e400", "-1e-400", "18446744073709551616"),
    *("\\\\ud800", "\\\\udc00", "\\\\u003a", "\\\\u003A", "\\\\u0000", "\\xef\\xbb\\xbf", "\\xed\\xa0\\x80"),
    *(
        '\\"a\\":',
        '{\\"a\\":1,\\"a\\":2}',
        "[[[[[[[[",
        "{}",
        "[]",
        "99999999999999999999",
        "\\\\\\\\",
        '\\\\\\"',
    ),
)


def check(data: bytes) -> str:
    """Read a document both ways; return what it came to.

    Raises:
        AssertionError: the ways differ.
    """
    expected, value = judged_slowly(data)
    code, document = _read(data)
    assert (code == "sound") == expected, (
        f"{code}, though it {'is' if expected else 'is not'} sound: {data!r}"
    )
    assert _same(document, value), f"read as {document!r} instead of {value!r}"
    return code


def _read(data: bytes) -> tuple[str, Any]:
    try:
        return "sound", loads(data)
    except UnsoundJsonError as error:
        return error.reason.code, None


def _same(one: Any, other: Any) -> bool:
    """Compare two documents, in which 1, 1.0 and true are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
