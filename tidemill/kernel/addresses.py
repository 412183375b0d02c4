"""Which addresses are the internet's, and which are this machine's or inside of a network.

Whoever asks judges the address that is connected to, behind the look-up of the name, so that no name can
lead elsewhere than it did when it was checked (DNS rebinding).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")  # RFC 8215


def is_public(address: Address) -> bool:
    """Say whether an address is global and unicast, and so is what may be wrapped in it."""
    if isinstance(address, IPv6Address):
        inside = _wrapped(address)
        if inside is not None:
            return is_public(inside)
        if address.is_site_local or address in _NAT64_LOCAL:
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_loopback or address.is_unspecified
    )


def parse_address(text: str) -> Address | None:
    """Return the address that a host is written as, None where it is a name."""
    try:
        return ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 one leads to."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
