"""The filters of lists of runs and errors as they stand in an address: API and pages read them alike."""

from __future__ import annotations

import re
import time
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast, get_args
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from tidemill.history.overview import ErrorQuery, ErrorState
from tidemill.history.run_lists import RunQuery
from tidemill.kernel import clock
from tidemill.kernel.errors import PayloadError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXTS: Final = {
    "task": "task",
    "source": "source",
    "type": "type",
    "tag": "tag",
    "text": "text",
    "fingerprint": "error",
    "parent_id": "parent",
    "root_id": "root",
    "replayof": "replayof",
}
"""Fields of a query by their names in an address."""
MARKS: Final = ("resolved", "ignored", "open")
STATES: Final[tuple[ErrorState, ...]] = get_args(ErrorState)
NAMES: Final = (*TEXTS.values(), "status", "since", "until")
_NUMBER: Final = re.compile(r"\d{1,12}(\.\d{1,9})?")
_LONGEST: Final = 500
_HINT: Final = "write a moment like 2026-11-22T10:00:00Z, or how long ago like 24h"


def run_query(parameters: QueryParams) -> RunQuery:
    """Read the filters of an address; empty ones are none.

    Raises:
        PayloadError: one can't be used.
    """
    given: dict[str, Any] = {
        field: text for field, name in TEXTS.items() if (text := text_of(parameters, name)) is not None
    }
    named = ",".join(parameters.getlist("status")).replace(",", " ").split()
    return RunQuery(
        **given,
        statuses=tuple(dict.fromkeys(named)),
        since=moment_of(parameters, "since"),
        until=moment_of(parameters, "until"),
    )


def query_of(where: Mapping[str, str]) -> RunQuery:
    """Read filters that stand in a document: names as in an address, several statuses with commas.

    Raises:
        PayloadError: one can't be used, or there is none.
    """
    for name, value in where.items():
        if name not in NAMES:
            raise PayloadError(f"there is no filter {name!r}", hint=f"there are {', '.join(NAMES)}")
        if not isinstance(value, str):
            raise PayloadError(f"{name}: it is no text")
    query = run_query(QueryParams(dict(where)))
    if query == RunQuery():
        raise PayloadError("no filter is given", hint="say which runs, like status=failed or task=deploy")
    return query


def error_query(parameters: QueryParams) -> ErrorQuery:
    """Read the filters of a list of errors.

    Raises:
        PayloadError: one can't be used.
    """
    state = text_of(parameters, "state")
    if state is not None and state not in STATES:
        raise PayloadError(f"there is no state {state!r}", hint=f"it is {' or '.join(STATES)}")
    return ErrorQuery(task=text_of(parameters, "task"), state=state)


def mark_of(state: str) -> ErrorState:
    """Return what somebody decided about an error.

    Raises:
        PayloadError: there is no such decision.
    """
    if state not in MARKS:
        raise PayloadError(f"there is no state {state!r} to set", hint=f"it is {' or '.join(MARKS)}")
    return cast("ErrorState", state)


def text_of(parameters: QueryParams, name: str) -> str | None:
    """Return a filter's text, None where it isn't set.

    Raises:
        PayloadError: it is too long.
    """
    text = parameters.get(name, "").strip().replace("\x00", "\ufffd")
    if len(text) > _LONGEST:
        raise PayloadError(f"{name}: it is too long", hint=f"at most {_LONGEST} characters")
    return text or None


def moment_of(parameters: QueryParams, name: str) -> float | None:
    """Return a moment in seconds since the epoch: RFC 3339 (UTC where no zone is named), seconds, or ago.

    Raises:
        PayloadError: it is none of these.
    """
    text = text_of(parameters, name)
    if text is None:
        return None
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return time.time() - _ago(name, text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _ago(name: str, text: str) -> float:
    try:
        return clock.seconds(text)
    except SettingsError as error:
        raise PayloadError(f"{name}={text!r} can't be used", hint=_HINT) from error


def address_of(path: str, query: RunQuery, cursor: str | None = None) -> str:
    """Return the address of a list; moments stand in it as such, so that its cursors stay good."""
    pairs: list[tuple[str, str]] = []
    for field in fields(query):
        value = getattr(query, field.name)
        if field.name == "statuses":
            pairs += [("status", status) for status in value]
        elif value is not None and (name := TEXTS.get(field.name, field.name)) in NAMES:
            pairs.append((name, repr(value) if isinstance(value, float) else str(value)))
    if cursor is not None:
        pairs.append(("cursor", cursor))
    return f"{path}?{urlencode(pairs)}" if pairs else path
