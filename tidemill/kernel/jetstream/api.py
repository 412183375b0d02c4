"""JetStream's answers: error codes, what each means here, and what to do about it.

Codes are those of nats-server's `server/errors.json` (2.15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.errors import (
    BrokerError,
    BrokerUnavailableError,
    StreamFullError,
    WrongSequenceError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

WRONG_LAST_SEQUENCE: Final = 10071
# On three replicas two racing appends are refused with this one, "wrong last sequence" without a number.
WRONG_LAST_SEQUENCE_CONSTANT: Final = 10164
CONSUMER_NOT_FOUND: Final = 10014
CONSUMER_EXISTS: Final = 10148
STREAM_NOT_FOUND: Final = 10059
STREAM_NAME_IN_USE: Final = 10058
MESSAGE_NOT_FOUND: Final = 10037
# Also where the message is gone already: "sequence not found" comes as this one.
MESSAGE_DELETE_FAILED: Final = 10057
SEQUENCE_NOT_FOUND: Final = 10043
STORE_FAILED: Final = 10077
NO_RESPONDERS: Final = "503"

_CONFLICTS: Final = frozenset({WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT})
# 10077 carries "maximum bytes/messages (per subject) exceeded"; 10023 insufficient resources, 10047
# insufficient storage, 10028 the account's storage limit.
_FULL: Final = frozenset({STORE_FAILED, 10023, 10028, 10047})
# 10008 cluster without leader, 10009 not leader, 10074 in place of it while a stream is being moved,
# 10167 too many unapplied writes: the request may be repeated later as it is.
_UNAVAILABLE: Final = frozenset({10008, 10009, 10074, 10167})
_CODE_MISSING: Final = 0


def error_of(subject: str, error: Mapping[str, Any]) -> BrokerError:
    """Return the exception for the `error` object of a JetStream answer."""
    code = int(error.get("err_code", _CODE_MISSING))
    sentence = f"{subject}: {error.get('description', 'unknown error')} ({code})"
    if code in _CONFLICTS:
        return WrongSequenceError(
            sentence, code=code, hint="somebody else has appended: read again and decide again"
        )
    if code in _FULL:
        return StreamFullError(
            sentence,
            code=code,
            hint="raise the stream's byte limit, free disk space, or wait for old ones to age out",
        )
    if code in _UNAVAILABLE:
        return BrokerUnavailableError(
            sentence, code=code, hint="the cluster has no leader just now: try again"
        )
    return BrokerError(sentence, code=code, hint=_hint(code))


def _hint(code: int) -> str:
    if code in (STREAM_NOT_FOUND, CONSUMER_NOT_FOUND):
        return "the topology isn't applied here: start a gateway or an engine once, or run `tidemill doctor`"
    return ""


def answer_of(subject: str, body: bytes) -> dict[str, Any]:
    """Decode a JetStream answer.

    Raises:
        BrokerError: the answer is an error, or no JSON object.
    """
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as failure:
        raise BrokerError(
            f"{subject}: the answer is no JetStream answer: {body[:80]!r}",
            hint="another client answers on this subject: it collides with Tidemill's names",
        ) from failure
    if not isinstance(answer, dict):
        raise BrokerError(f"{subject}: the answer is no JetStream answer: {body[:80]!r}")
    error = answer.get("error")
    if error:
        raise error_of(subject, error)
    return answer


def no_responders(subject: str) -> BrokerUnavailableError:
    """Return the exception for a request that nobody answers: no stream or consumer there, or no leader."""
    return BrokerUnavailableError(
        f"{subject}: nobody answers there",
        code=503,
        hint="no leader just now, or the topology isn't applied: `tidemill doctor` says which",
    )
