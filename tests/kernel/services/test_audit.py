"""The record of changes on a real broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.errors import ConflictError
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.services.audit import Audit, Change

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

pytestmark = pytest.mark.integration


@pytest.fixture
async def audit(bus: Bus) -> Audit:
    await apply(bus, wanted(bus.names))
    return Audit(bus)


def change(who: str = "ada", action: str = "runs.cancel", target: str = "run_1") -> Change:
    return Change(who, "key", action, target, "203.0.113.7")


async def test_changes_are_listed_with_their_outcomes_the_newest_first(audit: Audit) -> None:
    async with audit.change(change()):
        pass
    with pytest.raises(ConflictError):
        async with audit.change(change(target="run_2")):
            raise ConflictError("it has ended")
    await audit.begin(change(target="run_3"))
    found = await audit.list()
    assert [(one["target"], one["outcome"]) for one in found] == [
        ("run_3", None),
        ("run_2", "it has ended"),
        ("run_1", "done"),
    ]
    assert {name: found[2][name] for name in ("who", "how", "action", "client", "detail")} == {
        "who": "ada",
        "how": "key",
        "action": "runs.cancel",
        "client": "203.0.113.7",
        "detail": None,
    }


async def test_changes_are_found_by_who_what_and_to_what(audit: Audit) -> None:
    for who, action, target in (
        ("ada", "runs.cancel", "a"),
        ("bob", "runs.retry", "a"),
        ("ada", "login", ""),
    ):
        await audit.end(await audit.begin(change(who, action, target)), "done", {"by": who})
    assert [one["action"] for one in await audit.list(who="ada")] == ["login", "runs.cancel"]
    assert [one["who"] for one in await audit.list(action="runs")] == ["bob", "ada"]
    assert [one["who"] for one in await audit.list(action="runs.retry")] == ["bob"]
    assert [one["detail"] for one in await audit.list(target="a", who="bob")] == [{"by": "bob"}]
    assert await audit.list(action="run") == []


async def test_a_listing_goes_on_where_it_ended(audit: Audit) -> None:
    for number in range(5):
        async with audit.change(change(target=str(number))):
            pass
    first = await audit.list(limit=2)
    rest = await audit.list(before=first[-1]["seq"])
    assert [one["target"] for one in first + rest] == ["4", "3", "2", "1", "0"]
    assert all(one["outcome"] == "done" for one in rest)


async def test_a_long_target_is_cut(audit: Audit) -> None:
    await audit.begin(change(target="x" * 10_000))
    assert len((await audit.list())[0]["target"]) == 512
