from __future__ import annotations

from dataclasses import replace

from gateway.api.history_rows import document
from tidemill.history.rows import Body, Bucket, Lineage, QuarantineRow, RunRow


def test_moments_are_rfc_3339_and_numbers_of_the_database_are_not_told() -> None:
    run = RunRow(
        number=7,
        id="run_a",
        task="deploy",
        status="waiting",
        attempt=1,
        created_at=1_790_000_000.5,
        until=1_790_000_060,
        event_number=9,
        tags=("urgent",),
        waits=({"key": "approve", "kind": "token", "until": None},),
    )
    told = document(run)
    assert told["created_at"] == "2026-09-21T14:13:20.500000Z"
    assert told["until"] == "2026-09-21T14:14:20Z"
    assert told["started_at"] is None
    assert told["waits"] == [{"key": "approve", "kind": "token", "until": None}]
    assert (told["tags"], told["attempt"]) == (["urgent"], 1)
    assert not {"number", "event_number"} & set(told)


def test_counts_stay_numbers() -> None:
    told = document(Bucket(at=3600, name="", what="completed", count=3, seconds=1.5))
    assert told == {"at": "1970-01-01T01:00:00Z", "name": "", "what": "completed", "count": 3, "seconds": 1.5}


def test_bodies_are_text_where_they_are_some_and_rows_in_rows_are_rows() -> None:
    row = QuarantineRow(
        number=1, key="k", kind="delivery", source="shop", type="t", event_id="e", at=0.0, reason={"r": 1}
    )
    assert document(row)["released"] is False
    bodies = [Body(size=2, data=b"ab"), Body(size=1, data=b"\xff"), Body(size=9)]
    told = [document(replace(row, body=body))["body"] for body in bodies]
    assert told == [
        {"size": 2, "whole": True, "text": "ab"},
        {"size": 1, "whole": True, "base64": "/w=="},
        {"size": 9, "whole": False},
    ]
    run = RunRow(number=1, id="run_a", task="t", status="queued", attempt=0, created_at=0.0)
    assert document(Lineage(deliveries=(), events=(), runs=(run,)))["runs"][0]["id"] == "run_a"
