"""The streams of a made-up installation, as the history's writer would find them on the broker.

A third of the runs was started by events, of thirty-two types from eight sources. Most are completed at once;
the others were retried, went through steps, have children, failed with one of sixty kinds of errors, crashed,
were cancelled, took too long, or still wait. Requests were refused or came twice, and some are in quarantine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from tidemill.history.writer import STREAMS
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.frames import pack
from tidemill.kernel.jetstream.records import Record
from tidemill.kernel.protocol import records
from tidemill.kernel.subjects import new_run, run_of_event

DAY: Final = 86_400
SPAN: Final = 30 * DAY
BODIES: Final = 7 * DAY
TASKS: Final = [f"task-{number}" for number in range(40)]
SOURCES: Final = ("github", "stripe", "shop", "crm", "mail", "chat", "build", "meter")
TYPES: Final = [f"{source}.{kind}" for source in SOURCES for kind in ("push", "paid", "made", "gone")]
WORDS: Final = [
    "deploy",
    "refund",
    "parcel",
    "invoice",
    "branch",
    "label",
    "carrier",
    "pallet",
    "quay",
    "tide",
]
_KINDS: Final = 60
_CUSTOMERS: Final = 20_000
_TAGGED: Final = 5_000
_TRACE: Final = 'Traceback:\n  File "tasks.py", line 10, in handle\n  File "shop.py", line 7, in pay\n'
_RUNS_AT_ONCE: Final = 3_000

Made = tuple[str, str, float, bytes]
"""A message: its stream, its subject, when it was stored, its bytes."""


class Installation:
    """Makes `runs` runs, spread over some time from `begin` on; the same ones each time but for their ids."""

    def __init__(
        self,
        runs: int,
        begin: float,
        seconds: float,
        behind: Mapping[str, int] | None = None,
        *,
        events_before: int = 0,
    ) -> None:
        """Prepare.

        Args:
            runs: how many.
            begin: seconds since the epoch.
            seconds: over which time.
            behind: the sequences with which the streams go on.
            events_before: how many events an older broker has had, whose ids are taken.
        """
        self.runs = runs
        self._chance = random.Random(1)
        self._begin, self._step = begin, seconds / runs
        self._seqs = dict.fromkeys(STREAMS, 0) | dict(behind or {})
        self._events = self._seqs["EVENTS"]
        self._events_before = events_before
        self._newest = new_run()

    def batches(self) -> Iterator[tuple[int, dict[str, list[Record]]]]:
        """Yield what the writer takes in at once, with the number of runs that it is about."""
        each = self.messages()
        while chunk := list(islice(each, _RUNS_AT_ONCE)):
            found: dict[str, list[Record]] = {stream: [] for stream in STREAMS}
            for messages in chunk:
                for stream, subject, at, body in messages:
                    self._seqs[stream] += 1
                    found[stream].append(Record(subject, self._seqs[stream], at, body))
            yield len(chunk), {stream: messages for stream, messages in found.items() if messages}

    def messages(self) -> Iterator[list[Made]]:
        """Yield the messages of one run after the other, with those of its event and its request."""
        for number in range(self.runs):
            at = self._begin + number * self._step
            task = TASKS[int(self._chance.random() ** 2 * len(TASKS))]
            payload = self._payload(number)
            run, facts, messages = new_run(), {}, []
            if self._chance.random() < 1 / 3:
                key = f"{self._events_before + self._events + 1:040x}"
                facts = self._event(at, key, payload, messages)
                run = run_of_event(key, task)
            elif self._chance.random() < 0.05:
                facts = {"parent": records.Parent(run=self._newest, box="children")}
            elif self._chance.random() < 0.002:
                facts = {"replayof": self._newest}
            self._newest = run
            messages += self._run(run, task, at, payload, facts)
            if self._chance.random() < 0.02:
                messages += self._noise(at)
            yield messages

    def _event(self, at: float, key: str, payload: bytes, messages: list[Made]) -> dict[str, Any]:
        """Add an event and the request that brought it; return what its run says about it."""
        self._events += 1
        number, kind = self._events, self._chance.choice(TYPES)
        source = kind.partition(".")[0]
        envelope = Envelope(
            id=f"evt-{self._events_before + number}", source=source, type=kind, deliverykey=key, raw=payload
        )
        brought = {"id": envelope.id, "type": kind, "status": "accepted", "seq": number}
        line = _request(at, source, "accepted", 202) | {"events": [brought]}
        messages.append(("EVENTS", f"events.x.{kind}", at, envelope.to_frame()))
        messages.append(("DELIVERIES", "deliveries.log", at, orjson.dumps(line)))
        if self._chance.random() < 0.01:
            judged = {"verdict": "filtered", "task": self._chance.choice(TASKS), "clause": "amount > 10"}
            verdict = {"event": {"seq": number, "source": source}, "verdicts": [judged]}
            messages.append(("RECORDS", "records.verdict.x", at, orjson.dumps(verdict)))
        if self._chance.random() < 0.01:
            again = line | {"at": at + 1, "verdict": "duplicate"}
            messages.append(("DELIVERIES", "deliveries.log", at + 1, orjson.dumps(again)))
        return {"event": envelope.facts(), "event_seq": number}

    def _noise(self, at: float) -> list[Made]:
        """Return what no run came of: a refused request, or one in quarantine."""
        source = self._chance.choice(SOURCES)
        if self._chance.random() < 0.95:
            refused = _request(at, source, "refused", 401) | {
                "reason": self._chance.choice(("signature", "stale"))
            }
            return [("REFUSALS", "refusals.log", at, orjson.dumps(refused))]
        number = self._seqs["QUARANTINE"]
        facts = {
            "id": f"bad-{number}-{at}",
            "source": source,
            "type": f"{source}.made",
            "quarantine": {"reason": "schema", "message": "amount: not a number"},
        }
        return [
            ("QUARANTINE", f"quarantine.{source}.{int(at * 1000):x}", at, pack(facts, b'{"amount": "x"}'))
        ]

    def _run(self, run: str, task: str, at: float, payload: bytes, facts: dict[str, Any]) -> Iterator[Made]:
        """Yield a run's records, and the dead letter that it may leave."""
        fate, subject = self._chance.random(), f"journal.{run}"
        created = records.Created(rid="c", task=task, raw=payload, tags=self._tags(), **facts)
        for age, record in ((0.0, created), *self._middle(fate, at), *self._ends(fate, task, at)):
            yield "JOURNAL", subject, at + age, records.encode(record)
            if isinstance(record, records.End) and record.outcome in records.BURIED:
                fault = [{"type": record.fault.type, "message": record.fault.message}] if record.fault else []
                letter = pack({"run": run, "task": task, "outcome": record.outcome, "attempts": fault})
                yield "DEAD", f"dead.{task}.{run}", at + age, letter

    def _middle(self, fate: float, at: float) -> Iterator[tuple[float, records.Record]]:
        """Yield what a run did before its end."""
        if fate > 0.9999:
            return
        yield 0.01, records.Claim(rid="k", q=1, n=1, worker=f"w-{self._chance.randrange(4)}", at=at)
        if fate < 0.05:
            for step in range(3):
                yield 0.02 * step, records.Step(rid=f"s{step}", key=f"step-{step}", result={"step": step})
        elif fate < 0.08:
            yield 0.1, records.Suspend(rid="r", q=1, wait="retry", until=at + 5, fault=self._fault(at))
            yield 5.0, records.Claim(rid="k2", q=2, n=2, worker="w-1", at=at + 5)
        elif 0.9995 < fate < 0.9998:
            yield (
                0.1,
                records.Suspend(
                    rid="w", q=1, wait="news", waits=(records.Wait(key="approve", kind="token"),)
                ),
            )

    def _ends(self, fate: float, task: str, at: float) -> Iterator[tuple[float, records.Record]]:
        """Yield a run's end; one of two thousand has none yet."""
        if fate > 0.9995:
            return
        outcome: records.Outcome = "completed"
        for least, found in _OUTCOMES:
            if fate > least:
                outcome = found
        fault = self._fault(at) if outcome in {"failed", "crashed", "timed_out"} else None
        result = {"ok": True, "took": 12} if outcome == "completed" else None
        yield (
            6.0 if fate < 0.08 else 0.5,
            records.End(rid="e", outcome=outcome, result=result, fault=fault, task=task),
        )

    def _fault(self, at: float) -> records.Fault:
        kind = self._chance.randrange(_KINDS)
        return records.Fault(f"Error{kind}", f"no {WORDS[kind % 10]} for order {kind * 7}", _TRACE, 1, at)

    def _tags(self) -> tuple[str, ...]:
        chance = self._chance.random()
        if chance > 0.1:
            return ()
        return (f"customer-{self._chance.randrange(_TAGGED)}", *(("urgent",) if chance < 0.05 else ()))

    def _payload(self, number: int) -> bytes:
        words = " ".join(self._chance.choices(WORDS, k=6))
        customer = f"c{self._chance.randrange(_CUSTOMERS)}"
        return orjson.dumps({"order": number, "customer": customer, "note": words, "lines": [1, 2, 3]})


_OUTCOMES: Final[tuple[tuple[float, records.Outcome], ...]] = (
    (0.975, "cancelled"),
    (0.980, "failed"),
    (0.997, "crashed"),
    (0.998, "timed_out"),
    (0.999, "expired"),
)
"""From which fate on a run ends how."""


def _request(at: float, source: str, verdict: str, status: int) -> dict[str, Any]:
    """Return a line of the log of requests."""
    return {
        "at": at, "source": source, "verdict": verdict, "status": status, "us": 900, "client": "192.0.2.7",
    }  # fmt: skip
