from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from tests.history.planting import START
from tests.history.streams import Stream, writer_of
from tidemill.history import retention, search, tables
from tidemill.history.database import Database
from tidemill.history.overview import totals
from tidemill.history.retention import Retention
from tidemill.history.run_details import run_detail
from tidemill.history.run_lists import RunQuery, list_runs
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.protocol.records import Created

DAY = 86_400.0


@pytest.fixture
def filled(database: Database) -> Iterator[Database]:
    """Four finished runs and an event at START; one run that goes on for ever."""
    stream, events = Stream(), Stream()
    stream.record("run_living", Created(rid="c", task="deploy", raw=b'{"word": "living"}'))
    for number in range(4):
        stream.run(f"run_{number}", payload=b'{"word": "old"}')
    events.add("events.s.t", Envelope(id="evt", source="s", type="t", raw=b"body").to_frame())
    writer_of(database).write({"JOURNAL": stream.messages, "EVENTS": events.messages})
    later = Stream(start=START + 20 * DAY)
    for _ in range(len(stream.messages)):
        later.add("journal.run_x", b"")
    later.run("run_late", payload=b'{"word": "late"}')
    writer_of(database).write({"JOURNAL": later.messages[len(stream.messages) :]})
    return database


def _prune(database: Database, now: float) -> None:
    keeping = Retention(database, runs=30 * DAY, bodies=7 * DAY, clock=lambda: now)
    for _ in range(100):
        if not keeping.prune():
            return
    raise AssertionError("it doesn't end")


def _ids(database: Database, query: RunQuery) -> set[str]:
    with database.reading(5) as connection:
        return {row.id for row in list_runs(connection, query).rows}


def test_bodies_go_first_then_runs_and_what_goes_on_stays(filled: Database) -> None:
    _prune(filled, START + 5 * DAY)
    assert len(_ids(filled, RunQuery(text="old"))) == 4
    _prune(filled, START + 21 * DAY)
    assert len(_ids(filled, RunQuery())) == 6
    assert _ids(filled, RunQuery(text="old")) == set()
    assert _ids(filled, RunQuery(text="late")) == {"run_late"}
    with filled.reading(5) as connection:
        assert run_detail(connection, "run_0").payload.data is None
        assert run_detail(connection, "run_living").payload.data == b'{"word": "living"}'
        assert connection.execute(select(func.count()).select_from(tables.event_bodies)).scalar_one() == 0
        assert connection.execute(select(func.count()).select_from(tables.events)).scalar_one() == 1
    _prune(filled, START + 40 * DAY)
    assert _ids(filled, RunQuery()) == {"run_living", "run_late"}
    with filled.reading(5) as connection:
        assert totals(connection) == {"deploy": {"queued": 1, "completed": 1}}
        for table in (tables.events, tables.event_bodies, tables.timeline):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_who_goes_on_stays_among_those_that_go_wherever_a_step_ends(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 3)
    stream, living = Stream(), {"run_2", "run_5", "run_6", "run_7"}
    for number in range(11):
        run = f"run_{number}"
        if run in living:
            stream.record(run, Created(rid="c", task="deploy", raw=b"{}", tags=("kept",)))
        else:
            stream.run(run, outcome="failed" if number % 2 else "completed")
    writer_of(database).write({"JOURNAL": stream.messages})
    keeping = Retention(database, runs=30 * DAY, bodies=7 * DAY, clock=lambda: START + 31 * DAY)
    assert not keeping.prune(60.0), "one call does all that is due, if it may take so long"
    assert _ids(database, RunQuery()) == living == _ids(database, RunQuery(tag="kept"))
    with database.reading(5) as connection:
        assert totals(connection) == {"deploy": {"queued": 4}}
        assert connection.execute(select(func.count()).select_from(tables.run_bodies)).scalar_one() == 4


def test_a_call_does_one_step_where_it_has_no_time_for_more(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 1)
    keeping = Retention(filled, runs=30 * DAY, bodies=7 * DAY, clock=lambda: START + 40 * DAY)
    calls = 0
    while keeping.prune():
        calls += 1
    assert calls > 8
    assert _ids(filled, RunQuery()) == {"run_living", "run_late"}


def test_a_day_of_words_is_forgotten_as_a_whole(filled: Database) -> None:
    with filled.writing() as connection:
        search.clear(connection)
        assert search.find_numbers(connection, "old", low=0, below=2**40, limit=10) == ([], None)
