"""What somebody answers, as it comes from outside."""

from __future__ import annotations

from typing import Any

import pytest

from tidemill.kernel.decision import Decision, check_text, parse_decision
from tidemill.kernel.errors import PayloadError


def test_an_answer_is_read_and_written() -> None:
    decision = parse_decision({"by": " ann ", "approved": False, "comment": "no", "data": [1]}, "k")
    assert decision == Decision("ann", approved=False, comment="no", data=[1], key="k")
    assert parse_decision(decision.document(), "k") == decision
    assert parse_decision({"by": "ann"}) == Decision("ann")


@pytest.mark.parametrize(
    ("document", "key", "words"),
    [
        ({}, None, "who answers"),
        ({"by": ""}, None, "who answers"),
        ({"by": "x" * 256}, None, "who answers"),
        ({"by": "\udcff"}, None, "by: '\\udcff' is no Unicode"),
        ({"by": "a", "comment": "\udcff"}, None, "comment"),
        ({"by": "a", "comment": 1}, None, "isn't text"),
        ({"by": "a", "approved": 1}, None, "isn't true or false"),
        ({"by": "a", "who": 1}, None, "who: there is no such member"),
        ({"by": "a"}, "", "an idempotency key has 1 to 255"),
        ({"by": "a"}, "k" * 256, "an idempotency key has 1 to 255"),
    ],
)
def test_what_cant_be_an_answer_is_named(document: dict[str, Any], key: str | None, words: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_decision(document, key)
    assert words in caught.value.sentence


def test_names_are_text() -> None:
    check_text("a name", "ü/.*>")
    with pytest.raises(PayloadError, match="is Unicode text"):
        check_text("a name", "\udcff")
