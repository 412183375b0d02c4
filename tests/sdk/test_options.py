from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tidemill.context import Context
from tidemill.kernel.errors import DefinitionError
from tidemill.middleware import CallNext, RunInfo
from tidemill.options import NAMES, Options, parse
from tidemill.retry import Retry
from tidemill.schedule import Cron
from tidemill.task import task


async def timed(run: RunInfo, call_next: CallNext) -> Any:  # noqa: ARG001 - a middleware takes both
    return await call_next()


def test_options_come_in_the_form_of_the_definition() -> None:
    retry, daily = Retry(5), Cron("@daily")
    given = {
        "id": "a.b-c_1",
        "aliases": ["old"],
        "on": "github.push",
        "where": "data.a == 1",
        "schedule": daily,
        "retry": retry,
        "concurrency": 3,
        "timeout": timedelta(minutes=2),
        "max_duration": "1h",
        "middleware": [timed],
        "executor": "process",
        "reply": True,
    }
    assert parse(given) == Options(
        "a.b-c_1",
        ("old",),
        ("github.push",),
        "data.a == 1",
        (daily,),
        retry,
        3,
        120.0,
        3600.0,
        (timed,),
        "process",
        reply=True,
    )
    assert set(given) == set(NAMES)


def test_without_options_there_are_three_attempts_and_no_limits() -> None:
    assert parse({}) == Options(None, (), (), None, (), Retry(), None, None)
    assert Retry().max_attempts == 3


@pytest.mark.parametrize(
    ("given", "told", "hint"),
    [
        ({"tiemout": 5}, "@task has no option 'tiemout'", "did you mean 'timeout'?"),
        ({"schedule": "daily"}, "schedule='daily' is no schedule", "Cron("),
        ({"id": "a b"}, "id: 'a b' is no task id", "1 to 64 letters"),
        ({"id": 5}, "id: 5 is no task id", "text"),
        ({"aliases": "old"}, "aliases='old' is no list of texts", 'write aliases=["…"'),
        ({"aliases": ["ö"]}, "aliases: 'ö' is no task id", "1 to 64 letters"),
        ({"aliases": ["a", "a"]}, "names something twice", "once"),
        (
            {"on": "github..push"},
            "on: 'github..push' is no pattern: it has an empty part",
            "'*' for one part",
        ),
        ({"on": ["a", "b.c*"]}, "on: 'b.c*' is no pattern: a wildcard stands for a whole part", "'*'"),
        ({"on": 5}, "on=5 is no list of texts", "write on="),
        ({"on": ["a", 5]}, "is no list of texts", "write on="),
        ({"where": "data.x =="}, "is no CEL at line 1, column 10", "an expression in CEL"),
        ({"where": "dta.x == 1"}, "unknown variable 'dta'", "did you mean 'data'?"),
        ({"where": True}, "where=True is no text", "CEL expression as text"),
        ({"retry": 5}, "retry=5 is no policy", "retry=Retry(max_attempts=5)"),
        ({"concurrency": 0}, "concurrency=0 is no limit", "a whole number from 1"),
        ({"concurrency": 10**30}, "concurrency=1000000000000000000000000000000 is no limit", "from 1 to"),
        ({"concurrency": True}, "concurrency=True is no limit", "a whole number from 1"),
        ({"timeout": "5 minuets"}, "timeout: '5 minuets' is no duration", "'90s'"),
        ({"timeout": 0}, "timeout=0 lets nothing run", "leave it out"),
    ],
)
def test_a_bad_option_is_refused_with_the_line_of_the_decorator(
    given: dict[str, Any], told: str, hint: str
) -> None:
    decorate: Callable[..., Any] = task
    with pytest.raises(DefinitionError) as caught:
        decorate(**given)
    line = test_a_bad_option_is_refused_with_the_line_of_the_decorator.__code__.co_firstlineno + 6
    assert caught.value.sentence.startswith(f"{__file__}:")
    assert int(caught.value.sentence.removeprefix(f"{__file__}:").partition(":")[0]) in range(line, line + 60)
    assert told in caught.value.sentence
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"reply": "yes"}, "neither True nor False"),
        ({"reply": True, "on": "slack.>", "executor": "process"}, "on the event loop, not in a process"),
        ({"reply": True, "on": "slack.>"}, "needs a context"),
    ],
)
def test_a_reply_needs_an_event_and_a_context(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence):

        @task(**options)  # type: ignore[call-overload, untyped-decorator, unused-ignore] # that is the test
        async def silent(payload: int) -> None: ...


def test_a_reply_needs_an_event() -> None:
    with pytest.raises(DefinitionError, match="reply=True but no event"):

        @task(reply=True)
        async def silent(payload: int, ctx: Context) -> None: ...
