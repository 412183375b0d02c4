"""What the processes of one data directory share: locks, and the broker's address with its credential."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Final

import orjson

from tidemill.kernel.errors import EmbeddedBrokerError

if TYPE_CHECKING:
    from pathlib import Path

HOST: Final = "127.0.0.1"
_ADDRESS_FILE: Final = "broker.json"
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700


@dataclass(frozen=True, slots=True)
class Address:
    """Where the embedded broker listens, how to log in, and the name by which it is told from others."""

    port: int
    user: str
    password: str = field(repr=False)
    server_name: str

    @property
    def url(self) -> str:
        """The address without the credential."""
        return f"nats://{HOST}:{self.port}"

    @classmethod
    def fresh(cls) -> Address:
        """Return an address on a free port with a credential of its own."""
        return cls(free_port(), "tidemill", secrets.token_urlsafe(24), _fresh_name())

    def renamed(self) -> Address:
        """Return the address for another server, which nobody can take for an earlier one."""
        return replace(self, server_name=_fresh_name())

    @classmethod
    def load(cls, folder: Path) -> Address | None:
        """Read the address of a data directory, None where there is none yet.

        Raises:
            EmbeddedBrokerError: the file is damaged.
        """
        path = folder / _ADDRESS_FILE
        try:
            facts = orjson.loads(path.read_bytes())
            return cls(**{name: facts[name] for name in cls.__slots__})
        except FileNotFoundError:
            return None
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise EmbeddedBrokerError(
                f"{path} is damaged: {error!r}", hint="delete it; the data stay"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the address, readable for its owner alone, in one piece."""
        path = folder / _ADDRESS_FILE
        write_private(path.with_suffix(".new"), orjson.dumps(asdict(self)))
        path.with_suffix(".new").replace(path)


def _fresh_name() -> str:
    return f"tidemill-{secrets.token_hex(4)}"


class FileLock:
    """An advisory lock on a file; it ends with the last process that has this very opening of it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE)

    def exclusive(self) -> bool:
        """Take it for oneself; False where somebody else has it."""
        return self._flock(fcntl.LOCK_EX)

    def shared(self) -> bool:
        """Take it together with others; False where somebody has it for himself."""
        return self._flock(fcntl.LOCK_SH)

    def unlock(self) -> None:
        """Let it go and keep the file open."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close this process's opening of it; safe to call twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _flock(self, mode: int) -> bool:
        try:
            fcntl.flock(self.descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def make_private_folder(folder: Path) -> None:
    """Create a data directory for its owner alone; one that exists keeps its mode."""
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may read, also where it existed with another mode."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, _PRIVATE_FILE)
        file.write(content)


def free_bytes(folder: Path) -> int:
    """Return the space that is left on a folder's disk; none where that can't be found out."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
