"""The embedded broker: one nats-server per data directory, run by whichever process holds its lock.

Whoever holds `broker.lock` owns the broker: it starts the server and restarts it when it dies. All other
processes of the data directory use the same address, and when the owner goes, however it goes, one of them
takes the lock and starts the server again on the same port with the same data. The server never outlives its
owner: a guard process terminates it as soon as the owner is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from tidemill.kernel import backoff
from tidemill.kernel.errors import EmbeddedBrokerError
from tidemill.kernel.jetstream.embedded_files import (
    Address,
    FileLock,
    free_bytes,
    free_port,
    make_private_folder,
)
from tidemill.kernel.jetstream.embedded_server import Durability, PortTakenError, Server, answers

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

_POLL: Final = 0.1
_START_TIMEOUT: Final = 30.0
# A server that has run for so long had a good start: its next failure is the first again.
_STABLE: Final = 30.0
# Bytes on the disk with which a server that ran out of space may go on.
_ROOM: Final = 16 * 1024 * 1024


class EmbeddedBroker:
    """This process's part in the embedded broker of a data directory."""

    def __init__(self, folder: Path, durability: Durability, start_timeout: float) -> None:
        self._folder = folder
        self._durability = durability
        self._start_timeout = start_timeout
        self._lock = FileLock(folder / "broker.lock")
        # Shared by all who use the address: only who is alone may change it.
        self._users = FileLock(folder / "broker.users")
        self._address: Address | None = None
        self._server: Server | None = None
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    async def acquire(
        cls, data_dir: Path, *, durability: Durability = "fsync", start_timeout: float = _START_TIMEOUT
    ) -> Self:
        """Start the broker of a data directory, or find the one that runs; return when it can be used.

        `durability` is the owner's: "fsync" writes to disk before each acknowledgement, "os" leaves that to
        the operating system, so that a power cut may lose what was acknowledged.

        Raises:
            EmbeddedBrokerError: it doesn't start, or can't be reached in time.
        """
        try:
            folder = data_dir.resolve()  # noqa: ASYNC240 - a few calls on a local disk, once in a process
            make_private_folder(folder)
            broker = cls(folder, durability, start_timeout)
        except OSError as error:
            raise EmbeddedBrokerError(
                f"the data directory {data_dir} can't be used: {error}",
                hint="set [nats] data_dir to a directory that this user may write to",
            ) from error
        try:
            await broker._join()
        except BaseException:
            await broker.release()
            raise
        broker._keeper = asyncio.create_task(broker._keep(), name="embedded-broker-keeper")
        return broker

    @property
    def owner(self) -> bool:
        """Whether this process runs the server."""
        return self._server is not None

    @property
    def url(self) -> str:
        """The broker's address, without the credential."""
        return self._present.url

    @property
    def servers(self) -> list[str]:
        """The broker's address, as `Bus.connect` takes it."""
        return [self._present.url]

    @property
    def user(self) -> str:
        """The name to log in with."""
        return self._present.user

    @property
    def password(self) -> str:
        """The generated password; it stands in `broker.json`, which only its owner may read."""
        return self._present.password

    async def release(self) -> None:
        """Give up this process's part: stop the server where it is the owner. Safe to call twice."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        if self._server is not None:
            await self._server.stop()
            self._server = None
        self._users.close()
        self._lock.close()

    @property
    def _present(self) -> Address:
        if self._address is None:
            raise EmbeddedBrokerError("the embedded broker has no address yet", hint="acquire it first")
        return self._address

    async def _join(self) -> None:
        """Become the owner, or wait until the owner's server answers."""
        self._users.shared()
        deadline = asyncio.get_running_loop().time() + self._start_timeout
        while not self._lock.exclusive():
            self._address = Address.load(self._folder)
            if self._address is not None and await answers(self._address):
                return
            if asyncio.get_running_loop().time() > deadline:
                raise EmbeddedBrokerError(
                    f"the embedded broker in {self._folder} doesn't answer within {self._start_timeout:g} s",
                    hint="another process holds broker.lock there and can't start it: look at its log",
                )
            await asyncio.sleep(_POLL)
        await self._serve()

    async def _serve(self) -> None:
        """Start the server, on its old port if it had one; on another one only if nobody else uses it.

        Its name is new each time: where the folder is a copy, the original's server may answer on that port.
        """
        address = (Address.load(self._folder) or Address.fresh()).renamed()
        address.save(self._folder)
        try:
            self._server = await self._start(address)
        except PortTakenError as error:
            if not self._users.exclusive():
                self._users.shared()
                raise EmbeddedBrokerError(
                    f"port {address.port} is taken by another program, and in use:\n{error.sentence}",
                    hint=f"stop what listens there, or all of Tidemill's processes on {self._folder}",
                ) from error
            address = replace(address, port=free_port())
            address.save(self._folder)
            self._users.shared()
            self._server = await self._start(address)
        self._address = address

    async def _start(self, address: Address) -> Server:
        try:
            server = Server(self._folder, address, self._durability)
            await server.start(self._start_timeout)
        except OSError as error:
            raise EmbeddedBrokerError(
                f"the embedded broker in {self._folder} can't be started: {error}",
                hint="check the disk's space and rights",
            ) from error
        return server

    async def _keep(self) -> None:
        """Restart the server when it dies; take it over when its owner goes."""
        loop = asyncio.get_running_loop()
        failures, started = 0, loop.time()
        while True:
            await asyncio.sleep(_POLL)
            if self._server is not None and self._server.alive and not self._may_write_again(self._server):
                failures = 0 if loop.time() - started > _STABLE else failures
                continue
            if self._server is None and not self._lock.exclusive():
                continue
            if failures or self._server is not None:
                await asyncio.sleep(_pause(failures))
            failures += 1
            started = loop.time()
            await self._restart()

    def _may_write_again(self, server: Server) -> bool:
        """Say whether the server is stuck with the error of a full disk that isn't full any more."""
        return server.ran_out_of_space() and free_bytes(self._folder) >= _ROOM

    async def _restart(self) -> None:
        if self._server is None:
            _log.warning("the embedded broker's owner has gone: this process takes it over")
        elif self._server.alive:
            _log.warning("the disk was full and has space again: the embedded broker is started anew")
            await self._server.stop()
        else:
            _log.warning("the embedded broker has died and is started again:\n%s", self._server.last_lines())
            await self._server.stop()
        try:
            await self._serve()
        except (EmbeddedBrokerError, OSError) as error:
            _log.error("%s", error)
            self._server = None
            self._lock.unlock()  # another process may have more luck


def _pause(failures: int) -> float:
    return backoff.delay(failures + 1, factor=2, min_delay=0.1, max_delay=2.0, jitter=backoff.spread())
