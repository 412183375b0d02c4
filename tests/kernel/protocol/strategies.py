"""Any record, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from tidemill.kernel.protocol.records import (
    Cancel,
    Claim,
    Created,
    End,
    Fault,
    Item,
    News,
    Orphaned,
    Parent,
    Record,
    Released,
    Reopened,
    Spawned,
    Step,
    Suspend,
    Taken,
    Wait,
)

WORDS = st.text(max_size=8)
TIMES = st.floats(min_value=0, max_value=4e9, allow_nan=False)
COUNTS = st.integers(min_value=1, max_value=2**53)
JSON = st.recursive(
    st.none() | st.booleans() | COUNTS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
FAULTS = st.builds(Fault, WORDS, WORDS, WORDS, COUNTS, TIMES)
OUTCOMES = st.sampled_from(["completed", "failed", "cancelled", "expired", "timed_out", "crashed"])
ITEMS = st.builds(
    Item,
    id=WORDS,
    box=WORDS,
    who=WORDS,
    ok=st.booleans(),
    data=JSON,
    blob=st.none() | WORDS,
    run=st.none() | WORDS,
    fault=st.none() | FAULTS,
    at=TIMES,
)
WAITS = st.builds(
    Wait,
    key=WORDS,
    kind=WORDS,
    until=st.none() | TIMES,
    box=WORDS,
    need=COUNTS,
    spare=st.none() | COUNTS,
)
STEPS = st.builds(
    Step,
    rid=WORDS,
    key=WORDS,
    after=WORDS,
    outcome=st.sampled_from(["done", "failed", "timed_out", "again"]),
    result=JSON,
    blob=st.none() | WORDS,
    fault=st.none() | FAULTS,
    until=st.none() | TIMES,
    at=TIMES,
)
SPAWNED = st.builds(
    Spawned,
    rid=WORDS,
    key=WORDS,
    task=WORDS,
    count=COUNTS,
    after=WORDS,
    detached=st.booleans(),
    run=WORDS,
    at=TIMES,
)
NEWS = st.builds(News, rid=WORDS, items=st.lists(ITEMS, max_size=3).map(tuple))
TAKEN = st.builds(
    Taken,
    run=WORDS,
    at=COUNTS,
    key=WORDS,
    seed=WORDS,
    time=TIMES,
    loose=st.lists(WORDS, max_size=3).map(tuple),
    waits=st.lists(WAITS, max_size=3).map(tuple),
    parts=st.lists(STEPS | SPAWNED | NEWS, max_size=4).map(tuple),
)
CREATED = st.builds(
    Created,
    rid=WORDS,
    task=WORDS,
    event=st.none() | st.dictionaries(WORDS, JSON, max_size=3),
    event_seq=COUNTS,
    start_at=st.none() | TIMES,
    expires_at=st.none() | TIMES,
    key=st.none() | WORDS,
    tags=st.lists(WORDS, max_size=3).map(tuple),
    replayof=st.none() | WORDS,
    parent=st.none() | st.builds(Parent, run=WORDS, box=WORDS, index=COUNTS),
    hooks=st.booleans(),
    taken=st.none() | TAKEN,
    blob=st.none() | WORDS,
    raw=st.binary(max_size=20),
)
CLAIMS = st.builds(Claim, rid=WORDS, q=COUNTS, n=COUNTS, worker=WORDS, timer=st.booleans(), at=TIMES)
SUSPENDS = st.builds(
    Suspend,
    rid=WORDS,
    q=COUNTS,
    wait=st.sampled_from(["retry", "news", "parked"]),
    until=st.none() | TIMES,
    waits=st.lists(WAITS, max_size=3).map(tuple),
    fault=st.none() | FAULTS,
)
ENDS = st.builds(
    End,
    rid=WORDS,
    outcome=OUTCOMES,
    result=JSON,
    blob=st.none() | WORDS,
    fault=st.none() | FAULTS,
    reason=WORDS,
    task=WORDS,
    event_seq=COUNTS,
    keyed=st.booleans(),
    lasting=st.booleans(),
    blobs=st.booleans(),
    parent=WORDS,
    records=st.lists(COUNTS, max_size=3).map(tuple),
)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    CREATED,
    CLAIMS,
    STEPS,
    SPAWNED,
    NEWS,
    SUSPENDS,
    ENDS,
    st.builds(Cancel, rid=WORDS, reason=WORDS),
    st.builds(Reopened, rid=WORDS, reason=WORDS),
    st.builds(Released, rid=WORDS),
    st.builds(Orphaned, rid=WORDS),
)
