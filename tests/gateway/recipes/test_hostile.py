"""Whatever the bytes, there is a verdict, and none but the genuine pass: a sample of `hostile_run.py`."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.inbound import Inbound
from gateway.keys.wanted import Wanted
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.verify import Verification, Verified
from gateway.verdict import Refused
from tests.gateway.recipes import hostile, hostile_judge, hostile_run
from tidemill.kernel.settings.secrets import Secret

JUDGES = {name: Verification(preset(name), public_url=hostile.ORIGIN) for name in preset_names()}
NAMES = sorted({key for case in hostile.genuine() for key, _ in case.headers})
VALUES = st.one_of(st.binary(max_size=60), st.sampled_from([*hostile.STAMPS, *hostile.TEXTS]))


def test_genuine_requests_pass_and_spoilt_ones_never_raise() -> None:
    outcomes = hostile_judge.run(4000, seed=7).outcomes
    verified: Counter[str] = Counter()
    for outcome, number in outcomes.items():
        verified[outcome.partition(" ")[0]] += number
    assert verified["accepted"] > 500
    expected = {"signature_mismatch", "signature_excess", "timestamp_malformed", "secret_missing"}
    assert expected <= verified.keys()
    assert {"accepted → quarantined", "accepted → refused 413"} <= outcomes.keys()


def test_a_batch_of_hypothesis_requests_is_judged() -> None:
    tally = hostile_run.batch(1, count=200)
    assert tally.outcomes.total() >= 200


@given(
    name=st.sampled_from(preset_names()),
    headers=st.lists(st.tuples(st.sampled_from(NAMES) | st.binary(max_size=9), VALUES), max_size=8),
    body=st.binary(max_size=60) | st.sampled_from(hostile.BODIES),
    query=st.text(max_size=20),
    at=st.floats(allow_nan=False),
    secrets=st.lists(st.text(max_size=8), max_size=3),
)
def test_a_forged_request_never_passes(  # noqa: PLR0913, PLR0917 - one argument per strategy
    name: str, headers: list[tuple[bytes, bytes]], body: bytes, query: str, at: float, secrets: list[str]
) -> None:
    known = tuple(Secret(f"{text}-a-secret-that-nobody-guesses") for text in secrets)
    outcome = JUDGES[name].verify(Inbound("POST", "/", query, headers, body, at), known)
    assert not isinstance(outcome, Verified)
    assert outcome is None or isinstance(outcome, Refused | Wanted)
