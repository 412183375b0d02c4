"""Records of journals as rows: what has become of each run, and what happened on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import orjson

from tidemill.history.changes import Changes
from tidemill.history.fingerprints import fingerprint
from tidemill.history.shortening import MESSAGE_LIMIT, NAME_LIMIT, clean, dumps, plain, tail, value
from tidemill.history.tables import Row, runs
from tidemill.history.told import fault_told, fork_point, item_told
from tidemill.history.words import words_of
from tidemill.kernel.protocol.records import BURIED

_log = logging.getLogger(__name__)
_EMPTY: Final[Row] = dict.fromkeys(runs.c.keys())
_MOST_WAITS: Final = 100
_MOST_SHOWN: Final = 20
_WAITING: Final = {"retry": "delayed", "news": "waiting", "parked": "parked"}


@dataclass(slots=True)
class JournalRecord:
    """One record of a run: its number, when it was stored, its facts and the bytes behind them."""

    run: str
    number: int
    at: float
    facts: dict[str, Any]
    raw: bytes


class JournalProjection:
    """Takes records in, in the order of the stream, and says what they change.

    `rows` are the rows of those runs that had one before; a record of any other run whose creation isn't
    among the records is left out and counted in `unknown`: its journal has been closed since. Records that
    can't be read are counted in `unread`.
    """

    def __init__(
        self,
        changes: Changes,
        rows: dict[str, Row],
        roots: dict[str, str],
        *,
        events_base: int,
        body_limit: int,
    ) -> None:
        """Prepare.

        Args:
            changes: where the changes go.
            rows: the runs that are known, by id.
            roots: the roots of parents that are in neither, by the parents' ids.
            events_base: what is added to a sequence in EVENTS to get its number.
            body_limit: bytes of an input or a result that are kept.
        """
        self._changes = changes
        self._rows = rows
        self._roots = roots
        self._events_base = events_base
        self._limit = body_limit
        self._new: dict[int, Row] = {}
        self._touched: dict[int, Row] = {}
        self._bodies: dict[int, Row] = {}
        self._results: dict[int, Row] = {}
        self._words: dict[int, tuple[float, list[bytes | str]]] = {}
        self.unknown = 0
        self.unread = 0

    def take(self, records: Sequence[JournalRecord]) -> None:
        """Take records in."""
        for record in records:
            kind = record.facts.get("kind")
            if kind == "created":
                self._create_readable(record)
                continue
            row = self._rows.get(record.run)
            if row is None:
                self.unknown += 1
                continue
            if record.number <= row["tail"]:
                continue
            row["tail"], row["changed_at"] = record.number, record.at
            if row["number"] not in self._new:
                self._touched[row["number"]] = row
            self._fold(row, record)

    def finish(self) -> None:
        """Hand the rows over."""
        self._changes.new_runs += self._new.values()
        self._changes.changed_runs += self._touched.values()
        self._changes.bodies += self._bodies.values()
        self._changes.results += self._results.values()
        for number, (created_at, texts) in self._words.items():
            if words := words_of(*texts):
                self._changes.words.append((number, created_at, words))

    def _fold(self, row: Row, record: JournalRecord) -> None:
        """Let a record change its run; one of a newer version may be unknown, or say other things."""
        fold = self._folds.get(str(record.facts.get("kind")))
        if fold is None:
            self.unread += 1
            return
        try:
            fold(self, row, record)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            _log.warning("record %d of %s is left out of the history: %r", record.number, record.run, error)
            self.unread += 1

    def _create_readable(self, record: JournalRecord) -> None:
        try:
            self._create(record)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            _log.warning("%s is left out of the history: %r", record.run, error)
            self.unread += 1

    def _create(self, record: JournalRecord) -> None:
        facts = record.facts
        event, parent = facts.get("event") or {}, facts.get("parent")
        start_at, number = facts.get("start_at"), record.number
        row = _EMPTY | {
            "number": number,
            "id": record.run,
            "task": clean(facts["task"], NAME_LIMIT),
            "status": "delayed" if start_at else "queued",
            "key": plain(facts.get("key")),
            "replayof": plain(facts.get("replayof")),
            "fork_at": fork_point(facts.get("taken")),
            "depth": 0,
            "attempts": 0,
            "starts": 0,
            "reopened": 0,
            "created_at": record.at,
            "changed_at": record.at,
            "start_at": start_at,
            "expires_at": facts.get("expires_at"),
            "tail": number,
        }
        if event:
            row |= {
                "source": plain(event.get("source")),
                "type": plain(event.get("type")),
                "event_id": plain(event.get("id")),
            }
            if seq := facts.get("event_seq"):
                row["event_number"] = self._events_base + seq
        if isinstance(parent, dict):
            row |= {
                "parent_id": plain(parent["run"]),
                "root_id": plain(self._root(parent["run"])),
                "depth": min(parent.get("depth", 1), 32_000),
            }
        if tags := facts.get("tags"):
            row["tags"] = orjson.dumps(tags).decode()
            self._changes.tags += [{"tag": clean(tag, NAME_LIMIT), "run": number} for tag in set(tags)]
        self._rows[record.run] = self._new[number] = row
        self._keep_input(row, record)
        self._tell_taken(row, record)
        self._changes.totals[row["task"], row["status"]] += 1
        self._changes.count_run(record.at, row["task"], "created")

    def _tell_taken(self, row: Row, record: JournalRecord) -> None:
        """Tell what a forked run has from another one."""
        taken = record.facts.get("taken") or {}
        parts = [part for part in taken.get("parts", ()) if part["kind"] != "news"]
        for number, facts in enumerate(parts[:_MOST_WAITS], 1):
            outcome, result = facts.get("outcome", "done"), value(facts.get("result"))
            more = {"run": taken["run"], "result": result, **fault_told(facts.get("fault"))}
            self._tell(row, record, "taken", facts["key"], part=number, outcome=outcome, **more)

    def _keep_input(self, row: Row, record: JournalRecord) -> None:
        raw, number = record.raw, row["number"]
        with_event = row["event_number"] is not None
        self._bodies[number] = {
            "number": number,
            "payload": raw[: self._limit] if raw and not with_event else None,
            "payload_bytes": len(raw),
            "payload_blob": record.facts.get("blob"),
            "result": None,
            "result_bytes": 0,
            "result_blob": None,
            "traceback": None,
        }
        if raw:
            self._words[number] = (row["created_at"], [raw])

    def _root(self, parent: str) -> str:
        row = self._rows.get(parent)
        if row is not None:
            return str(row["root_id"] or row["id"])
        return self._roots.get(parent, parent)

    def _move(self, row: Row, status: str) -> None:
        if row["status"] != status:
            self._changes.totals[row["task"], row["status"]] -= 1
            self._changes.totals[row["task"], status] += 1
            row["status"] = status

    def _tell(
        self, row: Row, record: JournalRecord, kind: str, key: str = "", *, part: int = 0, **more: Any
    ) -> None:
        self._changes.timeline.append(
            {
                "run": row["number"],
                "number": record.number,
                "part": part,
                "kind": kind,
                "key": clean(key, NAME_LIMIT),
                "at": more.pop("at", record.at),
                "until": more.pop("until", None),
                "outcome": more.pop("outcome", None),
                "data": dumps(more) if more else None,
            }
        )

    def _claim(self, row: Row, record: JournalRecord) -> None:
        worker = record.facts.get("worker")
        if row["starts"] == 0:
            row["started_at"] = record.at
        else:
            if row["starts"] == 1:
                self._tell(row, record, "first_claim", part=1, at=row["started_at"], worker=row["worker"])
            self._tell(row, record, "claim", worker=worker)
        row["starts"] += 1
        row["claimed_at"], row["worker"] = record.at, worker
        row["until"] = row["waits"] = None
        self._move(row, "running")

    def _step(self, row: Row, record: JournalRecord) -> None:
        facts = record.facts
        self._tell(
            row,
            record,
            "step",
            facts["key"],
            outcome=facts.get("outcome", "done"),
            until=facts.get("until"),
            after=facts.get("after") or None,
            result=value(facts.get("result")),
            blob=facts.get("blob"),
            **fault_told(facts.get("fault")),
        )

    def _spawn(self, row: Row, record: JournalRecord) -> None:
        facts = record.facts
        self._tell(
            row,
            record,
            "spawned",
            facts["key"],
            after=facts.get("after") or None,
            task=facts["task"],
            count=facts.get("count", 1),
            detached=facts.get("detached"),
        )

    def _hear(self, row: Row, record: JournalRecord) -> None:
        boxes: dict[str, list[dict[str, Any]]] = {}
        for item in record.facts.get("items", ()):
            boxes.setdefault(item["box"], []).append(item)
        for part, (box, items) in enumerate(boxes.items()):
            if part == _MOST_WAITS:
                break
            self._tell(
                row,
                record,
                "news",
                box,
                part=part,
                count=len(items),
                ok=sum(item.get("ok", True) for item in items),
                children=True if all(item.get("run") for item in items) else None,
                items=[item_told(item) for item in items[:_MOST_SHOWN]],
            )

    def _suspend(self, row: Row, record: JournalRecord) -> None:
        facts = record.facts
        reason, waits, fault = facts["wait"], facts.get("waits", ()), facts.get("fault")
        row["until"] = facts.get("until")
        shown = [{name: wait.get(name) for name in ("key", "kind", "until")} for wait in waits[:_MOST_SHOWN]]
        row["waits"] = orjson.dumps(shown).decode() if shown else None
        self._tell(row, record, "suspend", reason, until=facts.get("until"), **fault_told(fault))
        for part, wait in enumerate(waits[:_MOST_WAITS], 1):
            self._tell(
                row,
                record,
                "wait",
                wait["key"],
                part=part,
                until=wait.get("until"),
                wait=wait["kind"],
                box=wait.get("box") or None,
                need=wait.get("need", 1),
                spare=wait.get("spare"),
            )
        self._move(row, _WAITING.get(reason, "waiting"))
        if fault is not None:
            self._fail(row, record, fault)
        if reason == "retry":
            row["attempts"] += 1
            self._changes.count_run(record.at, row["task"], "attempt_failed")

    def _note(self, row: Row, record: JournalRecord) -> None:
        reason = record.facts.get("reason")
        self._tell(row, record, record.facts["kind"], reason=clean(reason) if reason else None)

    def _lose_owner(self, row: Row, record: JournalRecord) -> None:
        self._note(row, record)
        self._move(row, "delayed" if row["start_at"] and not row["starts"] else "queued")

    def _reopen(self, row: Row, record: JournalRecord) -> None:
        error = f"{row['error_type']}: {row['error_message']}" if row["error_type"] else None
        ended = row["ended_at"] or record.at
        self._tell(row, record, "end", at=ended, outcome=row["status"], reason=row["reason"], error=error)
        reason = record.facts.get("reason")
        self._tell(row, record, "reopened", part=1, reason=clean(reason) if reason else None)
        row["reopened"] += 1
        row["attempts"] = 0
        row["ended_at"] = row["reason"] = row["until"] = row["waits"] = None
        self._move(row, "delayed" if row["start_at"] and not row["starts"] else "queued")

    def _end(self, row: Row, record: JournalRecord) -> None:
        facts = record.facts
        outcome, fault = facts["outcome"], facts.get("fault")
        row["ended_at"], row["until"], row["waits"] = record.at, None, None
        row["reason"] = clean(facts["reason"]) if facts.get("reason") else None
        self._move(row, outcome)
        since = row["started_at"] if row["started_at"] is not None else row["created_at"]
        self._changes.count_run(record.at, row["task"], outcome, max(0.0, record.at - since))
        if outcome in BURIED:
            self._fail(row, record, fault or {"type": outcome, "message": facts.get("reason", "")})
        elif outcome == "completed":
            row["error_type"] = row["error_message"] = row["fingerprint"] = None
        result = orjson.dumps(facts["result"]) if facts.get("result") is not None else None
        self._keep_result(row, result, facts.get("blob"), tail(fault.get("traceback", "")) if fault else None)

    def _keep_result(self, row: Row, result: bytes | None, blob: str | None, traceback: str | None) -> None:
        body = {
            "result": result[: self._limit] if result else None,
            "result_bytes": len(result) if result else 0,
            "result_blob": blob,
            "traceback": traceback or None,
        }
        if (new := self._bodies.get(row["number"])) is not None:
            new |= body
        elif result or blob or traceback or row["reopened"]:
            empty = {"number": row["number"], "payload": None, "payload_bytes": 0, "payload_blob": None}
            self._results[row["number"]] = empty | body

    def _fail(self, row: Row, record: JournalRecord, fault: dict[str, Any]) -> None:
        """Note a failure on its run, count it with those of its kind, and let its words be found."""
        kind, message = (
            clean(str(fault.get("type") or "error"), NAME_LIMIT),
            clean(fault.get("message") or ""),
        )
        traceback = tail(fault.get("traceback") or "")
        found = fingerprint(row["task"], kind, message[:MESSAGE_LIMIT], traceback)
        row["error_type"], row["error_message"], row["fingerprint"] = kind, message, found
        known = self._changes.errors.get(found)
        self._changes.errors[found] = {
            "fingerprint": found,
            "task": row["task"],
            "error_type": kind,
            "message": message,
            "traceback": traceback or None,
            "first_at": known["first_at"] if known else record.at,
            "last_at": record.at,
            "last_run": row["id"],
            "count": known["count"] + 1 if known else 1,
        }
        self._words.setdefault(row["number"], (row["created_at"], []))[1].extend((kind, message))

    _folds: ClassVar[dict[str, Callable[[JournalProjection, Row, JournalRecord], None]]] = {
        "claim": _claim,
        "step": _step,
        "spawned": _spawn,
        "news": _hear,
        "suspend": _suspend,
        "cancel": _note,
        "released": _note,
        "orphaned": _lose_owner,
        "reopened": _reopen,
        "end": _end,
    }
