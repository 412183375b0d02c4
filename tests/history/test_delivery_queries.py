from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from tests.history.planting import START
from tidemill.history import scanning
from tidemill.history.database import Database
from tidemill.history.delivery_queries import DeliveryQuery, list_deliveries
from tidemill.history.event_queries import event_detail
from tidemill.history.writer import STREAMS, HistoryWriter
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.jetstream.records import Record
from tidemill.kernel.subjects import Names

VERDICTS = ("accepted", "accepted", "duplicate", "quarantined", "refused", "handshake")


def _pieces() -> dict[str, list[Record]]:
    chance = random.Random(5)
    lines: dict[str, list[bytes]] = {"DELIVERIES": [], "REFUSALS": []}
    found: dict[str, list[Record]] = {"DELIVERIES": [], "REFUSALS": []}
    for number in range(300):
        verdict = chance.choice(VERDICTS)
        stream = "REFUSALS" if verdict in ("refused", "handshake") else "DELIVERIES"
        entry: dict[str, Any] = {
            "at": START + number,
            "source": chance.choice(("github", "shop")),
            "verdict": verdict,
        }
        if stream == "DELIVERIES":
            entry["events"] = [{"id": f"evt-{number}", "type": "t", "status": verdict, "seq": number + 1}]
        else:
            entry |= {"reason": "signature", "missed": 2}
        lines[stream].append(orjson.dumps(entry))
        if chance.random() < 0.3 or number == 299:
            for name, waiting in lines.items():
                if waiting:
                    seq = len(found[name]) + 1
                    found[name].append(
                        Record(f"{name.lower()}.log", seq, START + number, b"\n".join(waiting))
                    )
                    waiting.clear()
    return found


@pytest.fixture
def logged(database: Database) -> list[dict[str, Any]]:
    """Fill the history with pieces of the log; return their entries."""
    pieces = _pieces()
    writer = HistoryWriter(database, Names(), body_limit=1000)
    writer.begin(dict.fromkeys(STREAMS, "1"))
    events = [
        Record("events.x.t", seq, START + seq, Envelope(id=f"evt-{seq - 1}", source="x", type="t").to_frame())
        for seq in range(1, 301)
    ]
    writer.write({"EVENTS": events, **pieces})
    assert writer.left_out == 0
    found = [
        orjson.loads(line) for piece in pieces.values() for one in piece for line in one.body.split(b"\n")
    ]
    return sorted(found, key=lambda entry: -entry["at"])


@pytest.mark.parametrize("limit", [3, 500])
@pytest.mark.parametrize("scan", [4, 10_000])
@pytest.mark.parametrize(
    "query",
    [
        DeliveryQuery(),
        DeliveryQuery(source="shop"),
        DeliveryQuery(verdict="duplicate"),
        DeliveryQuery(verdict="accepted", source="github"),
        DeliveryQuery(verdict="handshake", reason="signature"),
        DeliveryQuery(reason="signature"),
        DeliveryQuery(since=START + 50, until=START + 120),
    ],
)
def test_pages_together_are_the_log(  # noqa: PLR0913, PLR0917 - three parameters, three fixtures
    database: Database,
    logged: list[dict[str, Any]],
    query: DeliveryQuery,
    scan: int,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scanning, "SCAN_LIMIT", scan)
    found, cursor, pages = [], None, 0
    while cursor is not None or not pages:
        with database.reading(5) as connection:
            page = list_deliveries(connection, query, cursor=cursor, limit=limit)
        assert len(page.rows) <= limit
        found += [row.at for row in page.rows]
        cursor, pages = page.cursor, pages + 1
        assert pages < 1000
    wanted = [entry["at"] for entry in logged if _fits(entry, query)]
    assert sorted(found, reverse=True) == wanted
    assert len(found) == len(set(found))


def _fits(entry: dict[str, Any], query: DeliveryQuery) -> bool:
    return (
        all(getattr(query, name) in (None, entry.get(name)) for name in ("verdict", "source", "reason"))
        and entry["at"] >= (query.since or 0)
        and entry["at"] < (query.until or 2**40)
    )


def test_an_event_knows_the_request_that_brought_it(database: Database, logged: list[dict[str, Any]]) -> None:
    entry = next(entry for entry in logged if entry["verdict"] == "accepted")
    with database.reading(5) as connection:
        detail = event_detail(connection, entry["events"][0]["id"])
    assert [(row.verdict, row.at) for row in detail.deliveries] == [("accepted", entry["at"])]


def test_a_verdict_that_does_not_exist_is_refused(database: Database) -> None:
    with database.reading(5) as connection, pytest.raises(PayloadError, match="no verdict"):
        list_deliveries(connection, DeliveryQuery(verdict="lost"))
