from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.context import Context
from tidemill.run_context import Attempt
from tidemill.sync_context import SyncContext

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_a_context_shows_its_attempt() -> None:
    context = Context(Attempt("run_a", "deploy", 3, lambda: NOW))
    assert (context.run_id, context.attempt, context.event) == ("run_a", 3, None)
    assert context.now() == NOW


def test_a_sync_context_asks_whether_it_was_cancelled_each_time() -> None:
    answers = iter([False, True])
    context = SyncContext(Attempt("run_a", "deploy", cancelled=lambda: next(answers)))
    assert [context.cancelled, context.cancelled] == [False, True]


RUNS = st.text(alphabet="abc_012", min_size=1, max_size=5)


@given(st.tuples(RUNS, st.text()), st.tuples(RUNS, st.text()), st.integers(1, 9))
def test_an_idempotency_key_belongs_to_run_and_step_and_outlives_attempts(
    one: tuple[str, str], other: tuple[str, str], attempt: int
) -> None:
    key = Context(Attempt(one[0], "t")).idempotency_key(one[1])
    assert Context(Attempt(one[0], "t", attempt)).idempotency_key(one[1]) == key
    assert (Context(Attempt(other[0], "t")).idempotency_key(other[1]) == key) is (one == other)
    assert key.isalnum()
    assert len(key) == 40


def test_the_key_of_a_step_never_changes_between_versions() -> None:
    key = Context(Attempt("run_a", "t")).idempotency_key("charge")
    assert key == "09348afba6ac27dee64e5f089b15f3ccf1b38733"


def test_the_log_is_bound_to_the_run_and_keeps_what_the_caller_adds(caplog: pytest.LogCaptureFixture) -> None:
    context = Context(Attempt("run_a", "deploy", 2))
    with caplog.at_level(logging.INFO, logger="tidemill.task.deploy"):
        context.log.info("built %s", "image", extra={"image": "x"})
    (record,) = caplog.records
    assert record.name == "tidemill.task.deploy"
    assert record.getMessage() == "built image"
    facts = {name: record.__dict__[name] for name in ("run_id", "task", "attempt", "image")}
    assert facts == {"run_id": "run_a", "task": "deploy", "attempt": 2, "image": "x"}
