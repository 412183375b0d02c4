from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from tests.kernel.protocol.script import CLAIM, COMPLETED, CREATED, RUN, SUSPEND, TASK, folded, journal, play
from tidemill.kernel.protocol.effects import end_effects
from tidemill.kernel.protocol.hooks import hooks_record, hooks_task
from tidemill.kernel.protocol.mailman import Signal, deliver
from tidemill.kernel.protocol.operations import Ack, Append, Bury, CancelTimer, ReadLeader, SendTicket
from tidemill.kernel.protocol.records import Created, End, Fault, Parent, Record, Reopened, decode, encode
from tidemill.kernel.subjects import run_of_hooks

HOOKED = replace(CREATED, hooks=True)
CRASHED = End(rid="w1.1", outcome="crashed", fault=Fault("Crashed", "3 workers died"), task=TASK)


def hooks_of(*records: Record) -> tuple[str, Created]:
    state = folded(*records)
    return run_of_hooks(RUN, state.end_seq), hooks_record(RUN, state)


def test_the_end_of_a_run_with_hooks_starts_theirs() -> None:
    records = (HOOKED, CLAIM, replace(COMPLETED, result={"ok": 1}))
    run, created = hooks_of(*records)
    play(
        end_effects(RUN, folded(*records)),
        (Append(run, created, 0), 7),
        (SendTicket(run, hooks_task(TASK), 7, "start", created, once=True), None),
    )
    assert created.task == "deploy~hooks"
    assert orjson.loads(created.raw) == {
        "run": RUN,
        "attempt": 1,
        "outcome": "completed",
        "result": {"ok": 1},
        "blob": None,
        "error": "",
        "error_type": "completed",
    }
    assert decode(encode(created)) == created


def test_hooks_that_were_started_before_arent_started_again() -> None:
    records = (HOOKED, CLAIM, COMPLETED)
    run, created = hooks_of(*records)
    play(
        end_effects(RUN, folded(*records)),
        (Append(run, created, 0), None),
        (ReadLeader(run), journal(created, CLAIM, COMPLETED)),
    )


def test_hooks_have_none_themselves_and_tell_nobody() -> None:
    _, created = hooks_of(HOOKED, CLAIM, COMPLETED)
    assert created.parent == Parent(run=RUN, box="")
    play(end_effects("run_2", folded(created, CLAIM, COMPLETED)))


def test_a_run_that_nobody_owned_has_its_hooks_told_by_the_mailman() -> None:
    before = (HOOKED, CLAIM, SUSPEND)
    cancelled = End(rid="s1", outcome="cancelled", reason="asked", task=TASK, records=(1, 2, 3))
    run, created = hooks_of(*before, cancelled)
    play(
        deliver(Signal("s1", RUN, "cancel", "asked")),
        (ReadLeader(RUN), journal(*before)),
        (Append(RUN, cancelled, 3), 4),
        (CancelTimer(RUN, TASK, 3), None),
        (Append(run, created, 0), 5),
        (SendTicket, None),
        (Ack(), None),
    )
    assert orjson.loads(created.raw)["error"] == "asked"


def test_every_end_of_a_reopened_run_is_told() -> None:
    once = (HOOKED, CLAIM, CRASHED)
    twice = (*once, Reopened(rid="s1"), CLAIM, replace(CRASHED, rid="w1.9"))
    assert hooks_of(*once)[0] != hooks_of(*twice)[0]
    play(
        end_effects(RUN, folded(*twice)),
        (Bury, None),
        (Append(hooks_of(*twice)[0], hooks_of(*twice)[1], 0), 9),
        (SendTicket, None),
    )


@pytest.mark.parametrize("records", [(CREATED, CLAIM, COMPLETED), (HOOKED, CLAIM, SUSPEND)])
def test_without_hooks_or_an_end_there_is_nothing_to_tell(records: tuple[Record, ...]) -> None:
    play(end_effects(RUN, folded(*records)), *([(CancelTimer, None)] if records[-1] is SUSPEND else []))
