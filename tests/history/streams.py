"""Messages as they stand in the streams, made without a broker."""

from __future__ import annotations

from tests.history.planting import START
from tidemill.history.database import Database
from tidemill.history.writer import STREAMS, HistoryWriter
from tidemill.kernel.jetstream.records import Record as Stored
from tidemill.kernel.protocol import records
from tidemill.kernel.subjects import Names


class Stream:
    """One stream's messages, a second between two."""

    def __init__(self, start: float = START) -> None:
        self.messages: list[Stored] = []
        self._start = start

    def add(self, subject: str, body: bytes) -> int:
        seq = len(self.messages) + 1
        self.messages.append(Stored(subject, seq, self._start + seq, body))
        return seq

    def record(self, run: str, record: records.Record) -> int:
        return self.add(f"journal.{run}", records.encode(record))

    def run(
        self, run: str, *, task: str = "deploy", payload: bytes = b"{}", outcome: str = "completed"
    ) -> None:
        """Add all records of a run that ends at its first attempt."""
        self.record(run, records.Created(rid="c", task=task, raw=payload))
        self.record(run, records.Claim(rid="k", q=1, n=1, worker="w"))
        fault = records.Fault("ValueError", f"no place for {run}") if outcome == "failed" else None
        end = records.End(rid="e", outcome=outcome, result=None if fault else 1, fault=fault)  # type: ignore[arg-type]  # a text
        self.record(run, end)


def writer_of(database: Database, incarnation: str = "1") -> HistoryWriter:
    """Return a writer at the place where the database stands."""
    writer = HistoryWriter(database, Names(), body_limit=1024)
    writer.begin(dict.fromkeys(STREAMS, incarnation))
    return writer
