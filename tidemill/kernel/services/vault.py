"""The vault: secrets that are kept on the broker are encrypted there (AES-256-GCM, NIST SP 800-38D).

A box is what stands on the broker: `{"v", "key", "nonce", "text"}`. It names the data key that it was made
with, and is bound to the name of its record, so that it can't be opened as somebody else's.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tidemill.kernel.errors import PayloadError, SettingsError, WrongSequenceError
from tidemill.kernel.services.data_keys import DataKey, KeyFile, read_key
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.settings.model import Settings

VERSION: Final = 1
GENERATED: Final = "vault.generated"
"""Where the id of the installation's generated key stands: with a dot, which no source's name has there."""
_NONCE: Final = 12
Box = Mapping[str, Any]


class Vault:
    """Encrypts with the first data key, and opens with any.

    Args:
        configured: the keys of the settings, the first encrypts.
        folder: where the key file is looked for, and made where the settings name no key; None: nowhere.
        bucket: where it is agreed which generated key is the installation's.
        makes: whether a key may be made here, where the gateways will find it.
    """

    def __init__(
        self,
        configured: tuple[DataKey, ...] = (),
        folder: Path | None = None,
        bucket: Bucket | None = None,
        *,
        makes: bool = True,
    ) -> None:
        self._configured = configured
        self._file = KeyFile(folder) if folder is not None else None
        self._bucket = bucket
        self._makes = makes
        self._agreed = ""
        self._keys = {key.id: key for key in configured}
        self._decoy = secrets.token_bytes(32)

    @classmethod
    def of(cls, settings: Settings, bucket: Bucket | None = None, *, makes: bool = True) -> Vault:
        """Return the vault of an installation.

        Raises:
            SettingsError: a key of the settings can't be resolved, or is none.
        """
        environ = settings.inputs.environ
        configured = tuple(read_key(ref.resolve(environ), str(ref)) for ref in settings.gateway.secret_key)
        return cls(configured, settings.nats.data_dir, bucket, makes=makes)

    @property
    def configured(self) -> tuple[str, ...]:
        """The ids of the keys of the settings, the one that encrypts first."""
        return tuple(key.id for key in self._configured)

    def has(self, key_id: str) -> bool:
        """Say whether a key is at hand.

        Raises:
            SettingsError: the key file is damaged or can't be read.
        """
        return self._find(key_id) is not None

    async def seal(self, name: str, secret: Secret) -> dict[str, Any]:
        """Encrypt the secret of a record.

        Raises:
            SettingsError: there is no key, and none can be made.
            BrokerError: the broker can't be asked whose generated key counts.
        """
        key, nonce = await self._first(), secrets.token_bytes(_NONCE)
        text = AESGCM(key.value).encrypt(
            nonce, secret.reveal().encode("utf-8", "surrogatepass"), _bound(name)
        )
        return {"v": VERSION, "key": key.id, "nonce": _encoded(nonce), "text": _encoded(text)}

    def open(self, name: str, box: Box) -> Secret:
        """Decrypt the secret of a record.

        Raises:
            SettingsError: the key that it was made with isn't at hand.
            PayloadError: it is damaged, or another record's.
        """
        try:
            version, key_id = box["v"], box["key"]
            nonce, text = base64.b64decode(box["nonce"]), base64.b64decode(box["text"])
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise _damaged(name) from error
        if version != VERSION or not isinstance(key_id, str):
            raise _damaged(name)
        key = self._required(key_id, f"the secret of {name}")
        try:
            return Secret(
                AESGCM(key.value).decrypt(nonce, text, _bound(name)).decode("utf-8", "surrogatepass")
            )
        except (InvalidTag, ValueError) as error:
            raise _damaged(name) from error

    def seal_bytes(self, name: str, raw: bytes) -> bytes:
        """Encrypt bytes of a record with the first key of the settings: a nonce, and then the ciphertext.

        Raises:
            SettingsError: the settings name no key.
        """
        if not self._configured:
            raise SettingsError("there is no key to encrypt with", hint="set gateway.secret_key")
        nonce = secrets.token_bytes(_NONCE)
        return nonce + AESGCM(self._configured[0].value).encrypt(nonce, raw, _bound(name))

    def open_bytes(self, name: str, key_id: str, sealed: bytes) -> bytes:
        """Decrypt what `seal_bytes` encrypted with a key.

        Raises:
            SettingsError: the key isn't at hand.
            PayloadError: it is damaged, or another record's.
        """
        key = self._required(key_id, name)
        try:
            return AESGCM(key.value).decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(name))
        except (InvalidTag, ValueError) as error:
            raise PayloadError(f"{name} is damaged, or another record's") from error

    async def current(self) -> str:
        """Return the id of the key that encrypts; the first call may have to make it.

        Raises:
            SettingsError: there is no key, and none can be made.
            BrokerError: the broker can't be asked.
        """
        return (await self._first()).id

    def decoy(self, name: str) -> Secret:
        """Return a secret that nobody has: always the same for a name where there is a data key.

        Its 64 hexadecimal digits can be used by every scheme with a shared secret, whatever their encoding.
        """
        try:
            key = self._configured[0] if self._configured else self._file and self._file.load()
        except SettingsError:
            key = None  # who has to open something says so
        base = key.value if key else self._decoy
        return Secret(hmac.digest(base, b"decoy\n" + name.encode("utf-8", "surrogatepass"), "sha256").hex())

    def _required(self, key_id: str, what: str) -> DataKey:
        key = self._find(key_id)
        if key is None:
            raise SettingsError(
                f"{what} was encrypted with the key {key_id}, which isn't here",
                hint="add it to gateway.secret_key, or bring secret.key of nats.data_dir back",
            )
        return key

    def _find(self, key_id: str) -> DataKey | None:
        found = self._keys.get(key_id)
        if found is None and self._file is not None and (key := self._file.load()) is not None:
            self._keys[key.id] = key
            found = self._keys.get(key_id)
        return found

    async def _first(self) -> DataKey:
        if self._configured:
            return self._configured[0]
        if self._file is None:
            raise SettingsError("there is no key to encrypt with", hint="set gateway.secret_key")
        key = self._file.load()
        if key is None and not self._makes:
            raise SettingsError(
                "there is no key here to encrypt with, and one made here wouldn't be the gateways'",
                hint="set gateway.secret_key as it is there, or let a gateway do it: --url",
            )
        key = key or self._file.make()
        if self._agreed != key.id and self._bucket is not None:
            await self._agree(self._bucket, key)
        self._agreed = key.id
        self._keys[key.id] = key
        return key

    async def _agree(self, bucket: Bucket, key: DataKey) -> None:
        """Make sure that one generated key serves all: on two machines there would be two.

        Raises:
            SettingsError: another one does.
            BrokerError: the broker can't be asked.
        """
        try:
            await bucket.put(GENERATED, key.id.encode(), revision=0)
        except WrongSequenceError:
            stored = await bucket.get(GENERATED)
            if stored is not None and stored.value != key.id.encode():
                raise SettingsError(
                    f"secrets here are encrypted with the key {stored.value.decode('ascii', 'replace')} "
                    f"that was made on another machine, and {key.id} is in {self._file}",
                    hint="give all gateways the same gateway.secret_key, see docs/tenants.md",
                ) from None


def _bound(name: str) -> bytes:
    return f"tidemill:{VERSION}:{name}".encode("utf-8", "surrogatepass")


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _damaged(name: str) -> PayloadError:
    return PayloadError(
        f"the encrypted secret of {name} is damaged, or another record's",
        hint="revoke it, or let the source forget it, and set it again",
    )
