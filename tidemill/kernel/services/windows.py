"""Delivery windows that are shorter than that of EVENTS: for how long a source recognises a delivery.

EVENTS finds duplicates by message id, within one window for all. A source with a shorter window of its own
gets a note per delivery that the broker removes after that time. The note holds a word that becomes a part
of the message id: within the window every delivery of the same key gets the same id, so that EVENTS finds
it, also where the first attempt to store it failed; later ones get another. The notes survive restarts,
are bounded in size, and of two gateways that write one at the same moment the broker takes one.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tidemill.kernel.errors import BrokerError, WrongSequenceError

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket

_ATTEMPTS: Final = 5
_KEY_DIGITS: Final = 40
TIMEOUT: Final = 1.2
_SKEW: Final = 1.0


class Windows:
    """The notes of all sources.

    Args:
        bucket: where they are kept.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def word(self, key: str, window: float) -> str:
        """Return the word of a delivery's key: that of its note, or a new one for `window` seconds.

        Raises:
            BrokerError: the broker can't be asked.
        """
        for _ in range(_ATTEMPTS):
            word = secrets.token_hex(4)
            try:
                await self._bucket.create(key, word.encode(), keep=window, timeout=TIMEOUT)
            except WrongSequenceError:
                stored = await self._bucket.get(key, timeout=TIMEOUT)
                if stored is not None:
                    return stored.value.decode("ascii", "replace")
            else:
                return word
        raise BrokerError(
            f"the window of {key} ends whenever it is looked at", hint="is its duplicate_window too short?"
        )

    async def settle(self, key: str, window: float, word: str, at: float) -> str:
        """Return the word of a delivery that came at an instant, when the broker couldn't be asked.

        That is the word of a note that was there already; else it is `word`, and is noted for what is left
        of the window.

        Raises:
            BrokerError: the broker can't be asked.
        """
        stored = await self._bucket.get(key, timeout=TIMEOUT)
        if stored is None:
            left = at + window - time.time()
            if left > 0:
                with suppress(WrongSequenceError):  # another gateway was faster: both words are good
                    await self._bucket.create(key, word.encode(), keep=left, timeout=TIMEOUT)
            return word
        earlier = stored.at - _SKEW <= at < stored.at + window
        return stored.value.decode("ascii", "replace") if earlier else word


def key_within(key: str, word: str) -> str:
    """Return the message id of a delivery in the window that a word stands for."""
    return hashlib.sha256(f"{key}\n{word}".encode()).hexdigest()[:_KEY_DIGITS]
