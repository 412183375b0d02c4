"""Alerts from the outside: how they stand, silencing them, and trying a channel.

One process of the engine evaluates and writes how things stand into the bucket ALERTS. Everybody else reads
that, and leaves there what it should take note of: silences, and requests for a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.clock import rfc3339_at
from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket

STATE: Final = "state"
SILENCES: Final = "silence"
ASKED: Final = "ask"
ANSWERED: Final = "answer"
MOST_SILENCES: Final = 200
LONGEST_SILENCE: Final = 90 * 86_400.0
ALIVE_SECONDS: Final = 30.0
"""A state that is older was left behind: nobody evaluates."""
ANSWER_SECONDS: Final = 25.0
_KEEP_SECONDS: Final = 120.0
_LONGEST: Final = 255
_NOBODY: Final = "no engine evaluates alerts: run one with the role alerts, and alerts.enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Alerts that nobody is to be told of for a while.

    Attributes:
        id: by which it is ended.
        rule: the rules' name, with `*` for any text.
        key: what the alerts are about, with `*` for any text.
        until: its end, in seconds since the epoch.
        by: who wanted it.
        comment: why.
    """

    id: str
    rule: str
    key: str
    until: float
    by: str = ""
    comment: str = ""

    def covers(self, rule: str, key: str) -> bool:
        """Say whether it is for an alert."""
        return fnmatchcase(rule, self.rule) and fnmatchcase(key, self.key)

    def facts(self) -> dict[str, Any]:
        """Return it as people are shown it."""
        return asdict(self) | {"until": rfc3339_at(self.until)}


class Alerts:
    """What may be asked about alerts, or done to them."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def show(self) -> dict[str, Any]:
        """Return how alerts stand: rules, channels, alerts, what was sent, and silences.

        Raises:
            BrokerError: the bucket can't be read.
        """
        state, age = await self._state()
        setup, silences = state.get("setup") or {}, await self.silences()
        return {
            "evaluated": age is not None and age < ALIVE_SECONDS and not state.get("released"),
            "at": rfc3339_at(state["clock"]) if state.get("clock") else None,
            "rules": setup.get("rules", []),
            "channels": [
                one | _channel_facts(state, one["name"], setup) for one in setup.get("channels", [])
            ],
            "alerts": [_alert_facts(one, silences) for one in state.get("alerts", [])],
            "waiting": len(state.get("outbox", [])),
            "sent": [one | {"at": rfc3339_at(one["at"])} for one in reversed(state.get("sent", []))],
            "silences": [silence.facts() for silence in silences],
        }

    async def silences(self) -> list[Silence]:
        """Return the silences, the one that ends first at the beginning.

        Raises:
            BrokerError: the bucket can't be read.
        """
        return silences_in(await self._bucket.values(SILENCES))

    async def silence(self, given: dict[str, Any], by: str) -> Silence:
        """Silence alerts for a while: `rule` and `key` are patterns, `seconds` says for how long.

        Raises:
            PayloadError: what is given can't be used.
            ConflictError: there are too many.
            BrokerError: it couldn't be stored.
        """
        silence = _read(given, by)
        if len(await self._bucket.values(SILENCES)) >= MOST_SILENCES:
            raise ConflictError(f"there are {MOST_SILENCES} silences already", hint="end some of them first")
        keep = silence.until - time.time()
        await self._bucket.create(f"{SILENCES}.{silence.id}", orjson.dumps(asdict(silence)), keep=keep)
        return silence

    async def end_silence(self, name: str) -> None:
        """End a silence.

        Raises:
            NotFoundError: there is none.
            BrokerError: it isn't ended, or nobody knows.
        """
        if not name.isalnum() or not name.isascii() or await self._bucket.get(f"{SILENCES}.{name}") is None:
            raise NotFoundError(f"there is no silence {name!r}", hint="`tidemill alerts silences` lists them")
        await self._bucket.delete(f"{SILENCES}.{name}", keep=_KEEP_SECONDS)

    async def test(self, channel: str) -> dict[str, Any]:
        """Have the engine send a test to a channel, and return whether it was `taken`, and the `problem`.

        Raises:
            NotFoundError: there is no such channel.
            ConflictError: nobody evaluates, or nobody answers.
            BrokerError: the engine can't be asked.
        """
        state, age = await self._state()
        if age is None or age >= ALIVE_SECONDS or state.get("released"):
            raise ConflictError(_NOBODY, hint="`tidemill engine --roles alerts` does nothing else")
        known = [str(one["name"]) for one in (state.get("setup") or {}).get("channels", [])]
        if channel not in known:
            there = f"there are {', '.join(known)}" if known else "docs/alerts.md says how to add one"
            raise NotFoundError(f"there is no channel {channel!r}", hint=there)
        question = secrets.token_hex(8)
        answered = asyncio.Event()
        hints = await self._bucket.watch(lambda key: answered.set() if question in key else None)
        try:
            body = orjson.dumps({"channel": channel})
            await self._bucket.create(f"{ASKED}.{question}", body, keep=_KEEP_SECONDS)
            return await self._answer(question, answered)
        finally:
            await hints.stop()

    async def _answer(self, question: str, answered: asyncio.Event) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            answered.clear()
            found = await self._bucket.get(f"{ANSWERED}.{question}")
            if found is not None:
                document: dict[str, Any] = orjson.loads(found.value)
                return document
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), 1.0)
        raise ConflictError(
            f"the engine didn't say within {ANSWER_SECONDS:g} s what came of it",
            hint="its log says what it does; the dashboard's alerts page shows how the channel is doing",
        )

    async def _state(self) -> tuple[dict[str, Any], float | None]:
        """Return the state as it is stored, and how old it is; None where there is none."""
        found = await self._bucket.get(STATE)
        if found is None:
            return {}, None
        document: dict[str, Any] = orjson.loads(found.value)
        return document, max(0.0, time.time() - found.at)


def silences_in(values: dict[str, Any]) -> list[Silence]:
    """Return the silences that a bucket's values are, those that are over left out."""
    now, found = time.time(), []
    for value in values.values():
        facts = orjson.loads(value.value)
        if float(facts["until"]) > now:
            found.append(Silence(**{name: facts[name] for name in Silence.__slots__ if name in facts}))
    return sorted(found, key=lambda silence: silence.until)


def _read(given: dict[str, Any], by: str) -> Silence:
    texts = {"rule": "*", "key": "*", "comment": ""}
    for member in given:
        if member not in (*texts, "seconds"):
            raise PayloadError(
                f"{member}: there is no such member", hint=f"there are {', '.join(texts)}, seconds"
            )
    for member, default in texts.items():
        text = texts[member] = given.get(member, default)
        if not isinstance(text, str) or len(text) > _LONGEST or (not text and member != "comment"):
            raise PayloadError(f"{member}: it isn't text of 1 to {_LONGEST} characters")
        _require_unicode(member, text)
    length = given.get("seconds", 3600)
    if isinstance(length, bool) or not isinstance(length, int | float) or not 1 <= length <= LONGEST_SILENCE:
        raise PayloadError(
            f"seconds: {length!r} isn't a number from 1 to {LONGEST_SILENCE:g}", hint="90 days at most"
        )
    return Silence(id=secrets.token_hex(6), until=time.time() + length, by=by[:_LONGEST], **texts)


def _require_unicode(member: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(f"{member}: {text!r} is no Unicode text") from error


def _channel_facts(state: dict[str, Any], name: str, setup: dict[str, Any]) -> dict[str, Any]:
    """Return how a channel is doing."""
    found = (state.get("channels") or {}).get(name) or {}
    numbers = ("sent", "failed", "held_back", "failures", "held")
    told: dict[str, Any] = {number: found.get(number, 0) for number in numbers}
    queued = sum(name in (message.get("to") or {}) for message in state.get("outbox", []))
    return told | {
        "problem": found.get("problem", ""),
        "waiting": queued,
        "in_the_last_hour": len(found.get("times", [])),
        "per_hour": setup.get("per_hour"),
    }


def _alert_facts(alert: dict[str, Any], silences: list[Silence]) -> dict[str, Any]:
    """Return an alert as people are shown it."""
    silenced = next((one for one in silences if one.covers(alert["rule"], alert["key"])), None)
    if alert.get("over") is not None:
        status = "resolved"
    else:
        status = "firing" if alert.get("began") is not None else "pending"
    moments = {name: rfc3339_at(at) if (at := alert.get(name)) else None for name in ("since", "told_at")}
    names = ("rule", "kind", "key", "value", "total", "path", "examples")
    shown = {name: alert.get(name) for name in names}
    return {"status": status, **shown, **moments, "silenced": silenced.id if silenced else None}
