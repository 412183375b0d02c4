"""Introductions: what a handshake needs besides its answer: a secret that is learned, an address visited."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from gateway.handshakes import TAKEN
from gateway.keys.https import HttpsFetch
from gateway.keys.places import Ask, FetchError, host_of
from gateway.tenants import LockedError
from gateway.verdict import Refused
from tidemill.kernel.errors import PayloadError, SettingsError

if TYPE_CHECKING:
    from gateway.keys.places import Fetch
    from gateway.verdict import Handshaken
    from tidemill.kernel.services.learned import LearnedSecrets
    from tidemill.kernel.settings.secrets import Secret

_log = logging.getLogger(__name__)
_OF_TENANT: Final = Refused(
    HTTPStatus.CONFLICT, "handshake_taken", "The secret of a tenant isn't learned from a request."
)


class Visit(Protocol):
    """Fetches an address and says whether that went well."""

    async def __call__(self, url: str) -> bool:
        """Fetch it."""


class UnvisitedError(Exception):
    """The address that confirms couldn't be fetched just now."""


class Introductions:
    """Finishes handshakes before they are answered."""

    def __init__(self, learned: LearnedSecrets, visit: Visit | None = None) -> None:
        self._learned = learned
        self._visit = visit or Visitor(HttpsFetch())

    async def ready(self, source: str) -> None:
        """Make sure that it is known here what a source has learned.

        Raises:
            LockedError: what it has learned can't be read.
            BrokerError: the broker can't be asked.
        """
        try:
            await self._learned.ready(source)
        except (SettingsError, PayloadError) as error:
            raise LockedError(source) from error

    async def finish(
        self, handshaken: Handshaken, source: str, tenant: str | None, client: str
    ) -> Refused | None:
        """Do what a handshake asks for; say why it isn't answered as it wants.

        Raises:
            LockedError: what the source has learned can't be read, or the secret can't be encrypted.
            BrokerError: the secret couldn't be kept.
            UnvisitedError: the address couldn't be fetched.
        """
        if handshaken.learn is not None:
            if tenant is not None:
                return _OF_TENANT
            if not await self._learn(source, handshaken.learn, client):
                return TAKEN
        if handshaken.visit is not None and not await self._visit(handshaken.visit):
            raise UnvisitedError
        _log.info("source %s answered the handshake %r of %s", source, handshaken.name, client)
        return None

    async def _learn(self, source: str, secret: Secret, client: str) -> bool:
        try:
            return await self._learned.learn(source, secret, client)
        except (SettingsError, PayloadError) as error:
            _log.error("source %s can't learn its secret: %s", source, error)
            raise LockedError(source) from error


class Visitor:
    """Fetches addresses: it follows no redirection, and asks no host inside of a network.

    Args:
        fetch: asks servers on the network.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def __call__(self, url: str) -> bool:
        """Fetch an address; say whether that went well."""
        try:
            reply = await self._fetch(Ask(url, reads=False))
        except FetchError as error:
            _log.warning("a confirmation failed: %s", error)
            return False
        if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
            return True
        _log.warning("a confirmation was answered %d by %s", reply.status, host_of(url))
        return False
