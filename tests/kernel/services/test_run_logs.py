"""Lines of runs, from the stream and from an archive of what the stream has dropped."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tidemill.kernel.errors import HistoryError
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.records import Record
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.services.run_logs import Batch, Page, RunLogReader, store

pytestmark = pytest.mark.integration


class Kept:
    """An archive that has some messages, or is away."""

    def __init__(self, found: Sequence[Record] = (), *, away: bool = False) -> None:
        self.found = found
        self.away = away
        self.asked = 0

    async def logged(self, run: str, *, after: int, below: int, limit: int) -> list[Record]:
        self.asked += 1
        if self.away:
            raise HistoryError("the history is away")
        wanted_subject = f"logs.{run}"
        return [one for one in self.found if after < one.seq < below and one.subject == wanted_subject][
            :limit
        ]


def batch_of(run: str, text: str) -> Batch:
    return next(Batch.split(run, 1, [(0.0, "info", "", "shop", text)], 0))


@pytest.fixture
async def logged(bus: Bus) -> Bus:
    """A stream whose first four messages, of two runs, are gone, and whose last two are there."""
    await apply(bus, wanted(bus.names))
    for number in range(3):
        for run in ("run_a", "run_b"):
            await store(bus, batch_of(run, f"{run} {number}"))
    await bus.api(f"STREAM.PURGE.{bus.names.stream('LOGS')}", {"seq": 5})
    return bus


def archive() -> Kept:
    runs = ("run_a", "run_b") * 3
    bodies = (batch_of(run, f"{run} {number // 2}").document() for number, run in enumerate(runs))
    return Kept(
        [
            Record(f"logs.{run}", seq, 0.0, body)
            for seq, run, body in zip(range(1, 7), runs, bodies, strict=True)
        ]
    )


async def read(reader: RunLogReader, run: str, limit: int = 100) -> tuple[list[str], list[Page]]:
    pages = [await reader.page(run, limit=limit)]
    while pages[-1].more:
        assert len(pages) < 10
        pages.append(await reader.page(run, after=pages[-1].after, limit=limit))
    return [line["text"] for page in pages for line in page.lines], pages


@pytest.mark.parametrize("limit", [1, 100])
async def test_what_the_stream_has_dropped_comes_from_the_archive(logged: Bus, limit: int) -> None:
    texts, pages = await read(RunLogReader(logged, archive()), "run_b", limit)
    assert texts == ["run_b 0", "run_b 1", "run_b 2"]
    assert [line["seq"] for page in pages for line in page.lines] == [2, 4, 6]


async def test_the_archive_is_asked_for_what_it_alone_can_have(logged: Bus) -> None:
    kept = archive()
    reader = RunLogReader(logged, kept)
    assert (await reader.page("run_a", after=4)).lines[0]["text"] == "run_a 2"
    assert kept.asked == 0
    nothing = await reader.page("run_c")
    assert (nothing.lines, nothing.after, nothing.more) == ([], 4, False)
    await reader.page("run_c", after=nothing.after)
    assert kept.asked == 1


@pytest.mark.parametrize("kept", [None, Kept(), Kept(away=True)])
async def test_without_an_archive_the_stream_says_what_it_has(logged: Bus, kept: Kept | None) -> None:
    texts, _ = await read(RunLogReader(logged, kept), "run_a")
    assert texts == ["run_a 2"]
