"""Signals on the wire: news for a run, and where its sender waits for the mailman's answer."""

from __future__ import annotations

from typing import Final, Literal, cast

import orjson

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.protocol.mailman import Signal
from tidemill.kernel.protocol.records import Item, item_of
from tidemill.kernel.subjects import Names

Kind = Literal["cancel", "retry"]
ITEM: Final = "item"
_ITEM_BEGIN: Final = b'{"kind":"item"'
KINDS: tuple[Kind, ...] = ("cancel", "retry")


def write_signal(kind: Kind, reason: str, reply: str, parent: str = "", name: str = "") -> bytes:
    """Return a signal's body.

    `reply` is the subject on which its sender waits, or empty; `parent` the run that ends its child. One with
    a `name` counts once for its run, however often it is sent.
    """
    facts = {"kind": kind, "reason": reason, "reply": reply, "parent": parent}
    return orjson.dumps(facts | ({"name": name} if name else {}))


def write_item(item: Item, reply: str = "") -> bytes:
    """Return the body of a piece of news for a run's mailbox."""
    return orjson.dumps({"kind": ITEM, "item": item, "reply": reply})


def read_item(body: bytes) -> tuple[Item, str] | None:
    """Read a piece of news and the subject on which its sender waits; None where it is another signal.

    Raises:
        PayloadError: it is one, and can't be read.
    """
    if not body.startswith(_ITEM_BEGIN):
        return None
    try:
        facts = orjson.loads(body)
        return item_of(facts["item"]), str(facts.get("reply", ""))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise PayloadError(f"a piece of news can't be read ({type(error).__name__}: {error})") from error


def read_signal(names: Names, subject: str, body: bytes, seq: int) -> tuple[Signal, str]:
    """Read a signal and its reply subject.

    Its id is its name, or its place in the stream, which is stable over redeliveries.

    Raises:
        PayloadError: the bytes are no signal.
    """
    try:
        facts = orjson.loads(body)
        kind = facts["kind"]
        names_of = ("reason", "reply", "parent", "name")
        reason, reply, parent, name = (str(facts.get(one, "")) for one in names_of)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise PayloadError(f"{subject} holds no signal ({type(error).__name__}: {error})") from error
    if kind not in KINDS:
        raise PayloadError(f"{subject} holds an unknown kind of signal, {kind!r}")
    run = names.tokens(subject)[1]
    return Signal(name or f"signal-{seq}", run, cast("Kind", kind), reason, parent), reply
