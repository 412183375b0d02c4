"""Places: where public keys are published, and how they are asked for there.

A place is a value: two that are equal are fetched once. One that a stranger's request names belongs to a
family, whose members share an allowance of fetches; one that the settings name has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from gateway.keys.ring import UnreadableKeysError, json_of, ring_of_set

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.keys.ring import Ring

CONFIGURATION: Final = "/.well-known/openid-configuration"
MAX_URL: Final = 1000
_URL: Final = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!#-;=?-Z_a-z~%]*)?")
_ABSENT: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


class Ask(NamedTuple):
    """One request for keys.

    Attributes:
        url: https, or http where that is let in.
        method: the method.
        headers: by name.
        body: what is posted.
        public: whether only hosts with public addresses may be asked: everywhere but where the operator
            named the address.
        plain: whether http is let in: for what proves itself, and where the operator named the address.
        reads: whether the body of the answer is wanted, not only its status.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = {}
    body: bytes = b""
    public: bool = True
    plain: bool = False
    reads: bool = True


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: bytes


class Fetch(Protocol):
    """Asks a server on the network."""

    async def __call__(self, ask: Ask) -> Reply:
        """Ask.

        Raises:
            FetchError: there was no answer that counts.
        """


class FetchError(Exception):
    """A key server couldn't be asked, or answered in a way that says nothing about its keys."""


class AbsentError(Exception):
    """The server says that there is no such key."""


class KeyPlace(Protocol):
    """Where keys are; hashable."""

    @property
    def family(self) -> str | None:
        """Return the name of what shares an allowance of fetches, None where the settings name the place."""

    @property
    def host(self) -> str:
        """Return the host that is asked, for log and metrics."""

    async def load(self, fetch: Fetch) -> Ring:
        """Fetch the keys.

        Raises:
            FetchError: the server couldn't be asked.
            AbsentError: there is no such key.
            UnreadableKeysError: what came back are no keys.
        """


@dataclass(frozen=True, slots=True)
class KeySetPlace:
    """A JSON Web Key Set at an address that a preset or the settings name."""

    url: str
    public: bool = True
    family: str | None = None
    plain: bool = False

    @property
    def host(self) -> str:
        """Return the host that is asked."""
        return host_of(self.url)

    async def load(self, fetch: Fetch) -> Ring:
        """Fetch the set."""
        return ring_of_set(body_of(await fetch(Ask(self.url, public=self.public, plain=self.plain))))


@dataclass(frozen=True, slots=True)
class IssuerPlace:
    """An issuer whose OpenID configuration says where its key set is (OpenID Connect Discovery 1.0, 4)."""

    issuer: str
    public: bool = True
    family: str | None = None

    @property
    def host(self) -> str:
        """Return the host that is asked."""
        return host_of(self.issuer)

    async def load(self, fetch: Fetch) -> Ring:
        """Fetch the configuration, and then the set."""
        url = self.issuer.rstrip("/") + CONFIGURATION
        document = json_of(body_of(await fetch(Ask(url, public=self.public))))
        if document.get("issuer") != self.issuer:
            raise UnreadableKeysError("the configuration is of another issuer")
        return await KeySetPlace(checked_url(document.get("jwks_uri")), self.public).load(fetch)


@dataclass(frozen=True, slots=True)
class PinnedUrls:
    """The addresses that requests may name, as a pattern of the whole URL without its scheme."""

    pattern: str
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", re.compile(self.pattern, re.ASCII))

    def allows(self, url: str) -> bool:
        """Say whether an address may be asked: https, no user, no port, no dots that climb."""
        if len(url) > MAX_URL or not _URL.fullmatch(url) or ".." in url:
            return False
        return self._compiled.fullmatch(url.removeprefix("https://")) is not None


def body_of(reply: Reply) -> bytes:
    """Return the body of an answer that brings what was asked for.

    Raises:
        AbsentError: there is no such thing.
        FetchError: it is any other answer.
    """
    if reply.status == HTTPStatus.OK:
        return reply.body
    if reply.status in _ABSENT:
        raise AbsentError
    raise FetchError(f"it answered {reply.status}")


def checked_url(value: Any) -> str:
    """Return an address that a document names.

    Raises:
        UnreadableKeysError: it isn't one that may be asked.
    """
    if isinstance(value, str) and len(value) <= MAX_URL and _URL.fullmatch(value):
        return value
    raise UnreadableKeysError("it names no https address of a key set")


def host_of(url: str) -> str:
    """Return the host of an address."""
    return urlsplit(url).hostname or ""
