"""`tidemill alerts`, on the broker itself and over the control API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Call

pytestmark = pytest.mark.integration


def test_rules_and_channels_are_listed(call: Call, way: tuple[str, ...]) -> None:
    rules = call(*way, "alerts", "rules", "--json").json()
    assert {one["name"] for one in rules} >= {"run_failed", "queue_age", "approval_expiring"}
    assert "failure_rate" in call(*way, "alerts", "rules").out
    for command in ("list", "channels", "sent", "silences"):
        assert isinstance(call(*way, "alerts", command, "--json").json(), list)
        assert call(*way, "alerts", command).code == 0


def test_a_silence_is_made_listed_and_ended(call: Call, way: tuple[str, ...]) -> None:
    given = ("run_failed", "--key", "dep*", "--for", "2h", "--comment", "we know")
    silence: dict[str, Any] = call(*way, "alerts", "silence", *given, "--json").json()
    assert (silence["rule"], silence["key"], silence["comment"]) == ("run_failed", "dep*", "we know")
    assert silence["by"]
    listed = call(*way, "alerts", "silences", "--json").json()
    assert [one["id"] for one in listed] == [silence["id"]]
    ended = call(*way, "alerts", "unsilence", silence["id"], "--json").json()
    assert ended == {"ended": silence["id"]}
    again = call(*way, "alerts", "unsilence", silence["id"])
    assert (again.code, "there is no silence" in again.err) == (1, True)


@pytest.mark.parametrize("wrong", [("--for", "soon"), ("--for", "1000d"), ("--key", "")])
def test_a_silence_that_makes_no_sense_is_refused(
    call: Call, way: tuple[str, ...], wrong: tuple[str, str]
) -> None:
    assert call(*way, "alerts", "silence", "*", *wrong).code in (1, 2)


def test_a_channel_that_isnt_there_cant_be_tried(call: Call, way: tuple[str, ...]) -> None:
    result = call(*way, "alerts", "test", "nobody")
    assert (result.code, "there is no channel 'nobody'" in result.err) == (1, True)
