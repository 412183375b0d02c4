"""Who sends: the address of a request's client, also behind proxies that are trusted to say it.

A forwarded address counts only where the connection comes from a configured proxy: anybody can write the
header. Read from its end, the first address that is no trusted proxy is the client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    Network = IPv4Network | IPv6Network

UNKNOWN: Final = "unknown"
_FORWARDED: Final = b"x-forwarded-for"
_MAX_HOPS: Final = 32
_CACHED: Final = 4096
_SITE_BITS: Final = 64


class Networks:
    """Some networks, to look addresses up in."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: tuple[Network, ...] = tuple(ip_network(text, strict=False) for text in networks)
        self._holds = lru_cache(maxsize=_CACHED)(self._look_up)

    def __contains__(self, address: str) -> bool:
        return self._holds(address)

    def _look_up(self, address: str) -> bool:
        found = parse_address(address)
        return found is not None and any(found in network for network in self._networks)


class Clients:
    """Finds out who sends a request.

    Args:
        proxies: the networks of trusted proxies.
    """

    def __init__(self, proxies: Sequence[str] = ()) -> None:
        self._proxies = Networks(proxies) if proxies else None
        self._forwarded = lru_cache(maxsize=_CACHED)(self._behind)

    def address(self, scope: Mapping[str, Any]) -> str:
        """Return the address of a request's client, `unknown` where there is none."""
        peer = str((scope.get("client") or (UNKNOWN,))[0])
        if self._proxies is None or peer not in self._proxies:
            return peer
        values = [value for name, value in scope["headers"] if name == _FORWARDED]
        return self._forwarded(peer, b",".join(values)) if values else peer

    def _behind(self, peer: str, header: bytes) -> str:
        """Walk from the proxy that is connected towards the client, as far as proxies are trusted."""
        nearest = peer
        for hop in header.decode("latin-1").split(",")[: -_MAX_HOPS - 1 : -1]:
            address = parse_address(_without_port(hop.strip()))
            if address is None:
                return nearest
            nearest = str(address)
            if self._proxies is None or nearest not in self._proxies:
                return nearest
        return nearest


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, an IPv4 one that is written as IPv6 as what it is; None where the text is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def site_of(address: str) -> str:
    """Return what is limited together: an IPv4 address, or the /64 network that an IPv6 client has whole."""
    found = parse_address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, _SITE_BITS), strict=False))
    return address


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
