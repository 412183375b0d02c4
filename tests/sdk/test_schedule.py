"""`Cron` and `Tick` where tasks are defined, and in unit tests of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest

from tidemill import Context, Cron, DefinitionError, Event, Tick, task, testing
from tidemill.kernel.definition import TaskDefinition

NIGHTLY = Cron("0 3 * * *", tz="Europe/Berlin")


def line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_schedules_stand_in_the_definition() -> None:
    @task(
        id="report",
        schedule=[NIGHTLY, Cron("@every 5m", overlap="allow", name="often", spread="30s"), Cron("@daily")],
    )
    async def report(tick: Tick) -> str:
        return tick.schedule

    rules = report.definition.schedules
    assert [rule.id for rule in rules] == ["report", "report:often", "report:3"]
    assert rules[0].model_dump() == {
        "id": "report", "expr": "0 3 * * *", "tz": "Europe/Berlin", "missed": "once", "overlap": "skip",
        "spread": 0.0, "tick": True,
    }  # fmt: skip
    assert (rules[1].overlap, rules[1].spread) == ("allow", 30.0)
    assert TaskDefinition.model_validate_json(report.definition.model_dump_json()) == report.definition


def test_a_change_of_a_schedule_is_a_new_version() -> None:
    def version(*schedules: Cron) -> str:
        @task(id="report", schedule=schedules)
        async def report() -> None: ...

        return report.definition.fingerprint

    assert len({version(), version(NIGHTLY), version(Cron("0 4 * * *")), version(NIGHTLY, NIGHTLY)}) == 4


def _plain(payload: int) -> None: ...
def _untyped(payload) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001 - what is tested
def _event(event: Event[dict[str, Any]]) -> None: ...
def _none() -> None: ...
def _optional(payload: int | None) -> None: ...
def _any_event(event: Event[Any]) -> None: ...
def _tick(tick: Tick) -> None: ...
def _tick_or_push(data: Tick | dict[str, str]) -> None: ...
def _noted(tick: Annotated[Tick, "why"]) -> None: ...
def _tick_event(event: Event[Tick]) -> None: ...


@pytest.mark.parametrize("function", [_plain, _untyped, _event])
def test_a_handler_that_needs_a_payload_has_no_schedule(function: Callable[..., None]) -> None:
    with pytest.raises(DefinitionError, match="a schedule has no payload") as caught:
        task(schedule=NIGHTLY)(function)
    assert "tick: Tick" in caught.value.hint
    assert caught.value.sentence.startswith(f"{__file__}:{function.__code__.co_firstlineno}")


@pytest.mark.parametrize("function", [_none, _optional, _any_event])
def test_a_handler_without_a_tick_gets_none(function: Callable[..., None]) -> None:
    assert [rule.tick for rule in task(schedule=NIGHTLY)(function).definition.schedules] == [False]


@pytest.mark.parametrize("function", [_tick, _tick_or_push, _noted, _tick_event])
def test_a_handler_that_asks_for_a_tick_gets_it(function: Callable[..., None]) -> None:
    assert [rule.tick for rule in task(schedule=NIGHTLY)(function).definition.schedules] == [True]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"expr": "61 * * * *"}, "'61' is no minute"),
        ({"expr": None}, "expr=None is no text"),
        ({"tz": "Europe/Berln"}, "no time zone 'Europe/Berln'"),
        ({"tz": 3}, "tz=3 is no text"),
        ({"missed": "never"}, "missed='never' is none"),
        ({"overlap": []}, r"overlap=\[\] is none"),
        ({"name": "a b"}, "name='a b' is none"),
        ({"name": 3}, "name=3 is none"),
        ({"spread": -1}, "spread"),
        ({"expr": "0 0 30 2 *"}, "never comes true"),
    ],
)
def test_a_wrong_schedule_names_its_line(facts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DefinitionError, match=sentence) as caught:
        Cron(**{"expr": "@daily", **facts})
    assert caught.value.sentence.startswith(f"{__file__}:{line() - 1}: ")
    assert caught.value.hint


@pytest.mark.parametrize("schedule", ["0 3 * * *", [3], {"a": NIGHTLY}, None, [NIGHTLY] * 101])
def test_the_option_takes_schedules_alone(schedule: Any) -> None:
    with pytest.raises(DefinitionError, match="schedule"):
        task(schedule=schedule)


def test_two_schedules_have_two_names() -> None:
    with pytest.raises(DefinitionError, match="'_none:2' is there twice"):
        task(schedule=[Cron("@daily", name="2"), Cron("@hourly")])(_none)


async def test_a_tick_for_a_unit_test() -> None:
    @task(schedule=[NIGHTLY, Cron("@hourly", name="hourly")])
    async def report(tick: Tick, ctx: Context) -> str:
        return f"{tick.scheduled_at:%d %H:%M%z} {tick.schedule} {ctx.attempt}"

    at = datetime(2026, 3, 28, 12, tzinfo=UTC)
    with testing.active():
        assert await report(testing.tick(report, at=at)) == "29 03:00+0200 report 1"
        hourly = testing.tick(report, schedule="report:hourly", at=at)
        assert await report(hourly) == "28 13:00+0000 report:hourly 1"
    assert testing.tick(report).scheduled_at > datetime.now(UTC)
    async with testing.play() as stage:
        run = await stage.start(report, testing.tick(report, at=at))
        assert await run.result() == "29 03:00+0200 report 1"


def test_a_tick_that_there_is_not() -> None:
    report = task(schedule=NIGHTLY)(_tick)
    with pytest.raises(DefinitionError, match="no schedule 'hourly'") as caught:
        testing.tick(report, schedule="hourly")
    assert "_tick" in caught.value.hint
    with pytest.raises(DefinitionError, match="no time zone"):
        testing.tick(report, at=datetime(2026, 1, 1))  # noqa: DTZ001 - what is tested
    with pytest.raises(DefinitionError, match="has no schedule"):
        testing.tick(task(_none))
