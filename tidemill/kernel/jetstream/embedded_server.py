"""One run of nats-server under its guard: configuration, start, readiness, end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final, Literal

import orjson

from tidemill.kernel.errors import EmbeddedBrokerError
from tidemill.kernel.jetstream import embedded_binary, guard
from tidemill.kernel.jetstream.embedded_files import HOST, Address, FileLock, free_bytes, write_private

if TYPE_CHECKING:
    from pathlib import Path

Durability = Literal["fsync", "os"]

_POLL: Final = 0.02
_CONNECT_LIMIT: Final = 1.0
_GRACE: Final = 5  # seconds that it may take to stop; it recovers from being killed
_LAST_LINES: Final = 8
_LOG_LIMIT: Final = 10_000_000  # bytes of a log file before it is rotated
_LOG_FILES: Final = 3
_PORT_TAKEN: Final = "address already in use"
_NO_SPACE: Final = b"no space left on device"
_FULL: Final = 64 * 1024  # bytes on a disk that takes no message any more


class PortTakenError(EmbeddedBrokerError):
    """Another program listens on the embedded broker's port."""


class Server:
    """A nats-server on the files of a data directory: alone there by a lock that it holds while it lives."""

    def __init__(self, folder: Path, address: Address, durability: Durability) -> None:
        self._folder = folder
        self._address = address
        self._log = folder / "broker.log"
        self._complaints = folder / "broker.err"
        self._log_start = self._looked_at = 0
        self._out_of_space = False
        write_private(folder / "broker.conf", _config(folder, address, durability).encode())
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._guard is not None and self._guard.poll() is None

    async def start(self, timeout: float) -> None:
        """Start it and return when it accepts connections.

        Raises:
            PortTakenError: another program has its port.
            EmbeddedBrokerError: it doesn't start; the sentence ends with what it said.
        """
        try:
            async with asyncio.timeout(timeout):
                lock = await self._alone()
                try:
                    self._launch(lock)
                finally:
                    lock.close()
                await self._ready()
        except TimeoutError as error:
            await self.stop()
            raise self._failure(f"isn't ready after {timeout:g} s") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop it, by force after the guard's grace period, and return when it is gone."""
        if self._guard is not None:
            await asyncio.to_thread(self._guard.communicate)

    async def _alone(self) -> FileLock:
        """Wait for the end of a nats-server that a dead owner has left on the same files."""
        lock = FileLock(self._folder / "broker.run.lock")
        try:
            while not lock.exclusive():  # noqa: ASYNC110 - a file lock has no event
                await asyncio.sleep(_POLL)
        except BaseException:
            lock.close()
            raise
        return lock

    def _launch(self, lock: FileLock) -> None:
        binary = embedded_binary.find()
        self._log_start = self._looked_at = self._log.stat().st_size if self._log.exists() else 0
        command = [
            sys.executable,
            "-I",
            "-S",
            guard.__file__,
            f"--grace={_GRACE}",
            str(binary),
            "-c",
            str(self._folder / "broker.conf"),
        ]
        with self._complaints.open("wb") as complaints:
            self._guard = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # what the guard watches: it closes with this process
                stdout=complaints,
                stderr=complaints,
                pass_fds=(lock.descriptor,),
                start_new_session=True,  # Ctrl-C stops the owner, and the owner stops the broker last
            )

    async def _ready(self) -> None:
        while not await answers(self._address):
            if not self.alive:
                raise self._failure("doesn't start")
            await asyncio.sleep(_POLL)

    def _failure(self, what: str) -> EmbeddedBrokerError:
        said = self.last_lines()
        kind = PortTakenError if _PORT_TAKEN in said else EmbeddedBrokerError
        return kind(
            f"the embedded broker in {self._folder} {what}:\n{said or '  (it said nothing)'}",
            hint=f"the whole log stands in {self._log}; check the disk's space and rights",
        )

    def last_lines(self) -> str:
        """Return the last lines that it has written since its start, indented."""
        try:
            lines = self._written()
        except OSError as error:  # also where the folder has gone, or the disk is broken
            lines = [f"(what it said can't be read: {error})"]
        return "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])

    def ran_out_of_space(self) -> bool:
        """Say whether it couldn't write since its start because the disk was full; ask often.

        It keeps such an error and refuses what belongs into the same file until it is started anew, however
        much space there is by then (nats-server 2.15). It says so in its log, which may stand on that disk.
        """
        if not self._out_of_space:
            self._out_of_space = free_bytes(self._folder) < _FULL or _NO_SPACE in self._news()
        return self._out_of_space

    def _news(self) -> bytes:
        """Return what it has written into its log since the last look."""
        try:
            size = self._log.stat().st_size
            if size == self._looked_at:
                return b""
            with self._log.open("rb") as log:
                log.seek(self._looked_at if size > self._looked_at else 0)  # a log that is full begins anew
                self._looked_at = size
                return log.read()
        except OSError:
            return b""  # the log has gone, or is being changed for a new one

    def _written(self) -> list[str]:
        lines = self._complaints.read_text("utf-8", "replace").splitlines()
        if self._log.exists():
            with self._log.open("rb") as log:
                log.seek(min(self._log_start, self._log.stat().st_size))
                lines += log.read()[-65536:].decode("utf-8", "replace").splitlines()
        return lines


async def answers(address: Address) -> bool:
    """Say whether the broker of this address accepts connections, and not just anybody on its port."""
    try:
        async with asyncio.timeout(_CONNECT_LIMIT):
            reader, writer = await asyncio.open_connection(HOST, address.port)
            try:
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):  # ValueError: a line without an end
        return False
    try:
        info = orjson.loads(line.removeprefix(b"INFO "))
    except orjson.JSONDecodeError:
        return False
    return bool(info.get("server_name") == address.server_name and info.get("jetstream"))


def _config(folder: Path, address: Address, durability: Durability) -> str:
    """Return the configuration; JSON strings are strings of its language too."""
    sync = "sync_interval: always" if durability == "fsync" else ""
    return f"""\
# Written at every start; what stands here by hand is lost.
server_name: {json.dumps(address.server_name)}
listen: "{HOST}:{address.port}"
authorization {{ user: {json.dumps(address.user)}, password: {json.dumps(address.password)} }}
log_file: {json.dumps(str(folder / "broker.log"))}
logfile_size_limit: {_LOG_LIMIT}
logfile_max_num: {_LOG_FILES}
pid_file: {json.dumps(str(folder / "broker.pid"))}
jetstream {{
  # The server keeps everything in a folder "jetstream" in it.
  store_dir: {json.dumps(str(folder))}
  {sync}
}}
"""
