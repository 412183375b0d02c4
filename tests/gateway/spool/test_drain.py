"""Draining: in order, nothing twice, nothing lost, and what nobody takes is set aside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.spool.drain import Drain
from gateway.spool.log import SegmentLog
from gateway.spool.parcel import Body, decode
from tidemill.kernel.errors import BrokerError, BrokerUnavailableError, StreamFullError
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.jetstream.messages import TOO_LARGE

if TYPE_CHECKING:
    from conftest import Pond

    from gateway.spool.spool import Spool

AWAY = BrokerUnavailableError("away")


@contextlib.asynccontextmanager
async def draining(
    spool: Spool, pond: Pond, connected: Callable[[], bool] = lambda: True
) -> AsyncIterator[Drain]:
    drain = Drain(spool, pond, pond, pond, connected)  # type: ignore[arg-type] # fakes
    running = asyncio.create_task(drain.run())
    try:
        yield drain
    finally:
        running.cancel()
        await asyncio.wait({running})
        if not running.cancelled():
            running.result()


async def emptied(spool: Spool) -> None:
    async with asyncio.timeout(20):
        while spool.holds:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0.005)


async def test_everything_is_drained_in_order(spooled: Callable[..., Any], make: Any, pond: Pond) -> None:
    names = [str(number) for number in range(200)]
    async with spooled() as spool:
        for name in names:
            raw = b"x" * (INLINE_LIMIT + 1) if name == "77" else b"{}"
            await spool.take([make(name, raw)], "c")
        await spool.take([make("a"), make("b", sound=False)], "c", None, Body("k", b"raw"))
        async with draining(spool, pond) as drain:
            await emptied(spool)
            assert drain.drained == 201
        assert pond.stored == [*names, "a"]
        assert pond.quarantined == [("b", "schema")]
        assert pond.bodies == {"k": b"raw"}


@pytest.mark.parametrize("error", [AWAY, StreamFullError("full"), BrokerError("refused", code=1)])
async def test_what_fails_is_tried_until_it_goes(
    spooled: Callable[..., Any], make: Any, pond: Pond, error: BrokerError
) -> None:
    async with spooled() as spool:
        for name in "123456":
            await spool.take([make(name)], "c")
        pond.error, pond.broken = error, "4"
        async with draining(spool, pond) as drain:
            async with asyncio.timeout(20):
                while drain.drained < 3:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.005)
            assert spool.records == 3
            pond.error = None
            await emptied(spool)
        assert sorted(pond.stored) == list("123456")
        assert pond.stored[:3] == list("123")


async def test_nothing_is_tried_while_nobody_is_there(
    spooled: Callable[..., Any], make: Any, pond: Pond
) -> None:
    there = False
    async with spooled() as spool, draining(spool, pond, lambda: there) as drain:
        pond.error = AssertionError("nobody is there")
        await spool.take([make("1")], "c")
        await asyncio.sleep(0.05)
        assert drain.drained == 0
        pond.error, there = None, True
        await emptied(spool)
        assert pond.stored == ["1"]


async def test_a_restart_in_the_middle_makes_no_second_event(
    spooled: Callable[..., Any], make: Any, pond: Pond, tmp_path: Path
) -> None:
    async with spooled() as spool:
        for name in "123":
            await spool.take([make(name)], "c")
    copy = {path.name: path.read_bytes() for path in (tmp_path / "spool").iterdir()}
    for _ in range(2):
        for name, content in copy.items():
            (tmp_path / "spool" / name).write_bytes(content)
        (tmp_path / "spool" / "position").unlink(missing_ok=True)
        async with spooled() as spool, draining(spool, pond):
            await emptied(spool)
    assert pond.stored == list("123")
    assert pond.duplicates == list("123")


async def test_what_nobody_takes_is_set_aside(
    spooled: Callable[..., Any], make: Any, pond: Pond, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = SegmentLog(tmp_path / "spool", 1 << 20)
    log.append([b"no parcel at all"])
    log.close()
    async with spooled() as spool:
        for name in "123":
            await spool.take([make(name)], "c")
        pond.error, pond.broken = BrokerError("too large", code=TOO_LARGE), "2"
        async with draining(spool, pond) as drain:
            await emptied(spool)
            assert (drain.apart, drain.drained) == (2, 4)
        pond.error, pond.broken = TypeError("a defect"), "4"
        await spool.take([make("4")], "c")
        await spool.take([make("5")], "c")
        async with draining(spool, pond) as drain:
            await emptied(spool)
            assert drain.apart == 1
    assert pond.stored == ["1", "3", "5"]
    aside = sorted((tmp_path / "spool").glob("aside-*"))
    assert [aside[0].read_bytes(), decode(aside[1].read_bytes()).items[0].verdict.envelope.id] == [
        b"no parcel at all",
        "2",
    ]
    assert all(path.name in caplog.text for path in aside)


async def test_what_the_disk_has_lost_is_said(
    spooled: Callable[..., Any], make: Any, pond: Pond, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with spooled() as spool:
        await spool.take([make("1")], "c")
        (segment,) = (tmp_path / "spool").glob("*.log")
        segment.write_bytes(b"\0" * segment.stat().st_size)
        async with draining(spool, pond):
            await emptied(spool)
        assert "can't be found" in caplog.text
        assert len(list((tmp_path / "spool").glob("*.damaged"))) == 1
        await spool.take([make("2")], "c")
        async with draining(spool, pond):
            await emptied(spool)
        assert pond.stored == ["2"]


async def test_words_of_windows_are_settled_with_the_broker(
    spooled: Callable[..., Any], make: Any, pond: Pond
) -> None:
    async with spooled() as spool:
        (one,) = await spool.take([make("1")], "c", 60.0)
        (other,) = await spool.take([make("2")], "c", 60.0)
        pond.notes[make("2").envelope.deliverykey] = "noted-before"
        async with draining(spool, pond):
            await emptied(spool)
    assert one.envelope.deliverykey in pond.keys
    assert other.envelope.deliverykey not in pond.keys
    assert pond.stored == ["1", "2"]
