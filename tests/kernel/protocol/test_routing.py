from __future__ import annotations

import orjson

from tests.kernel.protocol.script import play
from tidemill.kernel.protocol.operations import Ack, Append, Publish, SendTicket
from tidemill.kernel.protocol.records import Created
from tidemill.kernel.protocol.routing import Arrival, Broken, Filtered, Wanted, route
from tidemill.kernel.subjects import run_of_event

FACTS = {"id": "1", "source": "github", "type": "github.push"}
ARRIVAL = Arrival(FACTS | {"subject": "main"}, "key", 12, b"{}", {"big": "blob"})
EVENT = FACTS | {"seq": 12}


def created(task: str, blob: str | None = None) -> Created:
    return Created(rid="event-key", task=task, event=ARRIVAL.facts, event_seq=12, raw=b"{}", blob=blob)


def test_every_task_that_wants_the_event_gets_a_run_before_it_is_acknowledged() -> None:
    first, second = run_of_event("key", "deploy"), run_of_event("key", "big")
    play(
        route(ARRIVAL, [Wanted("deploy"), Wanted("big")]),
        (Append(first, created("deploy"), 0), 5),
        (SendTicket(first, "deploy", 5, "start", created("deploy"), once=True), None),
        (Append(second, created("big", "blob"), 0), 6),
        (SendTicket(second, "big", 6, "start", created("big", "blob"), once=True), None),
        (Ack(), None),
    )


def test_an_event_that_nobody_wants_leaves_a_verdict() -> None:
    body = orjson.dumps({"event": EVENT, "verdicts": []})
    play(route(ARRIVAL, []), (Publish("RECORDS", "verdict", "github", "key", body), None), (Ack(), None))


def test_a_filtered_pair_is_kept_with_its_clause_and_value() -> None:
    verdict = {"task": "deploy", "clause": "data.ok", "value": False, "verdict": "filtered"}
    body = orjson.dumps({"event": EVENT, "verdicts": [verdict]})
    play(
        route(ARRIVAL, [Filtered("deploy", "data.ok", value=False)]),
        (Publish("RECORDS", "verdict", "github", "key", body), None),
        (Ack(), None),
    )


def test_a_pair_whose_clause_fails_is_quarantined_too_under_an_id_of_its_own() -> None:
    pair = {"task": "a.b", "clause": "x", "value": None, "verdict": "quarantined", "reason": "no x"}
    record = orjson.dumps({"event": EVENT, "verdicts": [pair]})
    quarantined = orjson.dumps({"event": EVENT, "pair": pair})
    play(
        route(ARRIVAL, [Broken("a.b", "x", reason="no x")]),
        (Publish("RECORDS", "verdict", "github", "key", record), None),
        (Publish("QUARANTINE", "pair", "github", "key-a%2Eb", quarantined), None),
        (Ack(), None),
    )
