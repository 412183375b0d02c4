"""Data keys: what secrets on the broker are encrypted with, from the settings or from a generated file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tidemill.kernel.errors import SettingsError
from tidemill.kernel.jetstream.embedded_files import make_private_folder, write_private
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from pathlib import Path

BYTES: Final = 32
FILE: Final = "secret.key"
_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}")
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_ID_DIGITS: Final = 12
_HINT: Final = "make one with `tidemill keys secret` or `openssl rand -base64 32`"


@dataclass(frozen=True, slots=True)
class DataKey:
    """A key of 32 bytes, and the id under which records name it: a part of its hash."""

    id: str
    value: bytes = field(repr=False)

    @classmethod
    def of(cls, value: bytes) -> DataKey:
        """Return the key that some bytes are."""
        return cls(hashlib.sha256(b"tidemill data key\n" + value).hexdigest()[:_ID_DIGITS], value)


def new_key() -> str:
    """Return a fresh key as it is written in settings."""
    return base64.b64encode(secrets.token_bytes(BYTES)).decode()


def read_key(secret: Secret, where: str) -> DataKey:
    """Read a key: 32 bytes in base64 of either alphabet, or 64 hexadecimal digits.

    Raises:
        SettingsError: it is neither.
    """
    text = secret.reveal().strip()
    if _HEX.fullmatch(text):
        return DataKey.of(bytes.fromhex(text))
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    if _BASE64.fullmatch(plain):
        try:
            return DataKey.of(base64.urlsafe_b64decode(plain + "="))
        except binascii.Error:
            pass  # said below
    raise SettingsError(f"{where} is no key: 32 bytes in base64, or 64 hexadecimal digits", hint=_HINT)


class KeyFile:
    """The generated key in the data directory, readable for its owner alone."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._known: DataKey | None = None

    def __str__(self) -> str:
        return str(self.path)

    def load(self) -> DataKey | None:
        """Return the key, None where there is none yet.

        Raises:
            SettingsError: the file is damaged or can't be read.
        """
        if self._known is None:
            try:
                text = self.path.read_text(encoding="ascii")
            except (FileNotFoundError, NotADirectoryError):
                return None
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(
                    f"the key file {self.path} can't be read: {error}", hint="bring it back from a backup"
                ) from error
            self._known = read_key(Secret(text), str(self.path))
        return self._known

    def make(self) -> DataKey:
        """Return the key; the first process that asks makes it.

        Raises:
            SettingsError: it can't be written.
        """
        fresh = self.path.with_name(f"{FILE}.{secrets.token_hex(4)}")
        try:
            make_private_folder(self.path.parent)
            write_private(fresh, f"{new_key()}\n".encode())
            try:
                _sync(fresh)
                os.link(fresh, self.path)  # never over one that is there
                _sync(self.path.parent)
            except FileExistsError:
                pass  # another process was faster
            finally:
                fresh.unlink()
        except OSError as error:
            raise SettingsError(
                f"no key can be made in {self.path.parent}: {error}", hint=f"set gateway.secret_key: {_HINT}"
            ) from error
        made = self.load()
        if made is None:
            raise SettingsError(f"the key file {self.path} has gone again", hint="set gateway.secret_key")
        return made


def _sync(path: Path) -> None:
    """Bring a file or a folder to the disk: what is encrypted with a key that is lost is lost."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
