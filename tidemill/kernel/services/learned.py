"""Secrets that senders brought themselves (trust on first use): learned once, kept on the broker.

The first secret of a source stays until an operator forgets it; whoever comes later with another one is
turned away. Two gateways that hear a first one each at the same moment agree: the broker takes one. There it
is encrypted; what was kept before that stays readable.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.clock import now, rfc3339
from tidemill.kernel.errors import (
    BrokerError,
    NotFoundError,
    PayloadError,
    SettingsError,
    WrongSequenceError,
)
from tidemill.kernel.settings.secrets import Secret
from tidemill.kernel.subjects import escape, unescape

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.jetstream.messages import Subscription
    from tidemill.kernel.services.vault import Box, Vault

_POLL_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LearnedSecret:
    """What a source's sender brought, when, and from which address."""

    source: str
    secret: Secret
    at: str
    client: str

    def revealed(self) -> dict[str, str]:
        """Return it as its operator sees it."""
        return {"source": self.source, "secret": self.secret.reveal(), "at": self.at, "client": self.client}


class LearnedSecrets:
    """The learned secrets of all sources; `follow` keeps the view up to date."""

    def __init__(self, bucket: Bucket, vault: Vault) -> None:
        self._bucket = bucket
        self._vault = vault
        self._known: dict[str, LearnedSecret] = {}
        self._unreadable: dict[str, SettingsError | PayloadError] = {}
        self._read = False
        self._changed = asyncio.Event()

    def secrets(self, source: str) -> tuple[Secret, ...]:
        """Return the secret of a source as far as it is known here; none where there is none."""
        found = self._known.get(source)
        return (found.secret,) if found else ()

    async def ready(self, source: str) -> None:
        """Make sure that it is known here what a source has learned.

        Raises:
            SettingsError: its secret was encrypted with a key that isn't at hand.
            PayloadError: its secret can't be read.
            BrokerError: nothing was read yet, and the broker can't be asked.
        """
        if not self._read:
            await self.refresh()
        if source in self._unreadable:
            raise self._unreadable[source]

    async def learn(self, source: str, secret: Secret, client: str) -> bool:
        """Keep a source's first secret; say whether this is now its secret.

        Raises:
            SettingsError: there is no key to encrypt it with.
            BrokerError: it couldn't be kept; repeating it is safe.
        """
        new = LearnedSecret(source, secret, rfc3339(now()), client)
        try:
            await self._bucket.put(escape(source), await self._sealed(new), revision=0)
        except WrongSequenceError:
            known = await self.find(source)
            self._known[source] = known
            return known.secret == secret
        self._known[source] = new
        self._changed.set()
        _log.warning(
            "source %s has learned its secret from %s; `tidemill sources show %s` shows it",
            source, client, source,
        )  # fmt: skip
        return True

    async def find(self, source: str) -> LearnedSecret:
        """Return what a source has learned.

        Raises:
            NotFoundError: nothing.
            SettingsError: the key that it was encrypted with isn't at hand.
            PayloadError: what is kept can't be read.
            BrokerError: the broker can't be asked.
        """
        stored = await self._bucket.get(escape(source))
        if stored is None:
            raise NotFoundError(f"{source} has learned no secret", hint="its sender introduces itself first")
        return self._opened(source, stored.value)

    async def forget(self, source: str) -> None:
        """Forget a source's secret, so that the next one is learned.

        Raises:
            NotFoundError: it has none.
            BrokerError: the broker can't be asked.
        """
        if await self._bucket.get(escape(source)) is None:
            raise NotFoundError(f"{source} has learned no secret", hint="there is nothing to forget")
        await self._bucket.delete(escape(source))
        self._known.pop(source, None)
        self._unreadable.pop(source, None)

    async def records(self) -> list[str]:
        """Return the keys of all that is kept; those with a dot aren't secrets of sources.

        Raises:
            BrokerError: the broker can't be asked.
        """
        return [key for key in await self._bucket.keys() if "." not in key]

    async def rewrap(self, source: str) -> bool:
        """Encrypt a source's secret with the first key; say whether that was needed.

        Raises:
            SettingsError: a key isn't at hand.
            PayloadError: what is kept can't be read.
            BrokerError: it isn't done, or nobody knows.
        """
        stored = await self._bucket.get(escape(source))
        if stored is None or key_of(stored.value) == await self._vault.current():
            return False
        sealed = await self._sealed(self._opened(source, stored.value))
        try:
            await self._bucket.put(escape(source), sealed, revision=stored.revision)
        except WrongSequenceError:
            return False  # it was forgotten meanwhile, and perhaps learned anew: encrypted with the first key
        return True

    async def refresh(self) -> None:
        """Read all that is kept.

        Raises:
            BrokerError: the broker can't be asked.
        """
        known: dict[str, LearnedSecret] = {}
        unreadable: dict[str, SettingsError | PayloadError] = {}
        for key, stored in (await self._bucket.items()).items():
            if "." in key:
                continue  # no source's: what the installation signs with
            source = unescape(key)
            try:
                known[source] = self._opened(source, stored)
            except (SettingsError, PayloadError) as error:
                unreadable[source] = error
                if str(error) != str(self._unreadable.get(source)):
                    _log.error("%s", error)
        self._known, self._unreadable, self._read = known, unreadable, True

    async def follow(self) -> None:
        """Keep the view up to date, until cancelled."""
        hints: Subscription | None = None
        try:
            while True:
                pause = _RETRY_SECONDS
                try:
                    hints = hints or await self._bucket.watch(lambda _: self._changed.set())
                    await self.refresh()
                    # A hint comes before its write can be read everywhere: soon after one, look again.
                    pause = _RETRY_SECONDS if self._changed.is_set() else _POLL_SECONDS
                except BrokerError as error:
                    _log.warning("the learned secrets were not read: %s", error.sentence)
                if pause == _RETRY_SECONDS:
                    self._changed.clear()
                    await asyncio.sleep(pause)
                else:
                    await self._wait(pause)
        finally:
            if hints is not None:
                await hints.stop()

    async def _wait(self, seconds: float) -> None:
        """Wait until something was written, or some time has passed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    async def _sealed(self, learned: LearnedSecret) -> bytes:
        """Return a secret as it is kept on the broker."""
        box = await self._vault.seal(_box_name(learned.source), learned.secret)
        return orjson.dumps({"box": box, "at": learned.at, "client": learned.client})

    def _opened(self, source: str, stored: bytes) -> LearnedSecret:
        """Read what `_sealed` wrote, or what was kept before it was encrypted.

        Raises:
            SettingsError: the key isn't at hand.
            PayloadError: it isn't that.
        """
        try:
            document = orjson.loads(stored)
            box: Box | None = document.get("box")
            secret = self._vault.open(_box_name(source), box) if box else Secret(document["secret"])
            return LearnedSecret(source, secret, document["at"], document["client"])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise PayloadError(
                f"the learned secret of {source} can't be read: {error}",
                hint=f"`tidemill sources forget {source}`, and let its sender introduce itself again",
            ) from error


def key_of(stored: bytes) -> str:
    """Return the id of the key that a record is encrypted with, empty where it isn't."""
    try:
        document: dict[str, Any] = orjson.loads(stored)
        return str(document["box"]["key"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def _box_name(source: str) -> str:
    return f"learned/{escape(source)}"
