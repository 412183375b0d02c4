"""The way out: which hosts are reached through a proxy, and which directly."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote, urlsplit

from tidemill.kernel.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

PORTS: Final = {"http": 80, "https": 443}
_URL: Final = re.compile(r"https?://([^\s/?#@]+@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?")
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy (RFC 9110, 7.3).

    Attributes:
        host: its host.
        port: its port.
        secure: whether it is spoken to over TLS.
        authorization: the value of `Proxy-Authorization`, None where it asks for none.
    """

    host: str
    port: int
    secure: bool = False
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address: `http://[USER:PASSWORD@]HOST[:PORT]`, or `https://…`.

        Raises:
            ValueError: it is none.
        """
        text = text if "://" in text else f"http://{text}"
        if not _URL.fullmatch(text):
            raise ValueError("not the address of an HTTP proxy: write http://HOST:PORT or https://HOST:PORT")
        found = urlsplit(text)
        port = found.port if (found.port or 0) <= _MAX_PORT else None
        given = None
        if found.username is not None:
            pair = f"{unquote(found.username)}:{unquote(found.password or '')}"
            given = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return cls(found.hostname or "", port or PORTS[found.scheme], found.scheme == "https", given)


@dataclass(frozen=True, slots=True)
class Egress:
    """How hosts are reached.

    Attributes:
        proxies: the proxy for each scheme of addresses; those of other schemes are asked directly.
        no_proxy: what is asked directly, as `NO_PROXY` has it: names with all below them, addresses and
            networks, each with a port or without; `*` is everything.
        by_name: whether a proxy looks names up; else they are looked up here, and it is told the address.
    """

    proxies: tuple[tuple[str, Proxy], ...] = ()
    no_proxy: Sequence[str] = ()
    by_name: bool = False

    def proxy_for(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy that a host is reached through, None where it is reached directly.

        This machine is: no proxy leads to it.
        """
        proxy = dict(self.proxies).get(scheme)
        if proxy is None or _is_here(host):
            return None
        return None if any(_covers(entry, host, port) for entry in self.no_proxy) else proxy


DIRECT: Final = Egress()


def _is_here(host: str) -> bool:
    address = parse_address(host)
    if address is not None:
        return address.is_loopback
    return host.rstrip(".").lower().rpartition(".")[2] == "localhost"


def _covers(entry: str, host: str, port: int) -> bool:
    """Say whether an entry of `NO_PROXY` covers a host."""
    name, wanted = _split(entry.strip().lower())
    if not name or (wanted is not None and wanted != port):
        return False
    if name == "*":
        return True
    address = parse_address(host)
    if address is not None:
        try:
            return address in ip_network(name.strip("[]"), strict=False)
        except ValueError:
            return False
    name, host = name.removeprefix("*").removeprefix("."), host.rstrip(".").lower()
    return host == name or host.endswith(f".{name}")


def _split(entry: str) -> tuple[str, int | None]:
    """Return the name or network and the port of an entry."""
    name, colon, port = entry.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (":" not in name or name.endswith("]")):
        return name, int(port)
    return entry, None
