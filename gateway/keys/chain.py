"""Chains of certificates: whose key a fetched certificate holds, vouched for by an authority (RFC 5280, 6).

A document may bring the intermediate certificates along, or leave them out as AWS's does; those that are
missing are fetched from where a certificate says that its issuer's is (4.2.2.1), over plain HTTP too, for a
certificate proves itself by its signature.
"""

from __future__ import annotations

import logging
import re
import time
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

import httpx
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import (
    AuthorityInformationAccess,
    DNSName,
    ExtensionNotFound,
    UniformResourceIdentifier,
    load_der_x509_certificate,
)
from cryptography.x509.oid import AuthorityInformationAccessOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from gateway.keys.places import MAX_URL, AbsentError, Ask, FetchError, body_of, host_of
from gateway.keys.ring import EMPTY, UnreadableKeysError, certificates_of, key_of_certificate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.x509 import Certificate

    from gateway.keys.places import Fetch
    from gateway.keys.ring import Ring

_log = logging.getLogger(__name__)

MAX_DEPTH: Final = 4
"""Certificates between one and the authority that vouches for it; public ones have one or two."""
MAX_FETCHED: Final = 2
"""Of these so many are fetched."""
MAX_GIVEN: Final = 8
_ISSUER: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:80|:443)?/[!#-;=?-Z_a-z~%]*")


class UntrustedError(Exception):
    """No authority vouches for a certificate under the names that count, or not at this time."""


class Trust:
    """Says whether an authority vouches for a certificate.

    Args:
        roots: the authorities; by default those that connections trust, too. Tests pass their own.
    """

    def __init__(self, roots: Sequence[Certificate] | None = None) -> None:
        self._roots = list(roots) if roots is not None else None

    async def check(
        self, found: Sequence[Certificate], names: Sequence[str], fetch: Fetch, now: float
    ) -> None:
        """Check that a certificate leads to an authority, is in use, and was issued to one of some names.

        Args:
            found: the certificate, and then those that came along with it.
            names: the host names that count.
            fetch: fetches the issuers' certificates that are missing.
            now: seconds since the epoch.

        Raises:
            UntrustedError: it doesn't.
            FetchError: a certificate that is missing can't be fetched.
        """
        leaf, given = found[0], list(found[1:MAX_GIVEN])
        for _ in range(MAX_FETCHED):
            address = _issuer_address(_top(leaf, given))
            if self._problem(leaf, given, names, now) is None or address is None:
                break
            given.append(await _issuer(address, fetch))
        problem = self._problem(leaf, given, names, now)
        if problem is not None:
            raise UntrustedError(f"{leaf.subject.rfc4514_string()}: {problem}") from problem

    def _problem(
        self, leaf: Certificate, given: Sequence[Certificate], names: Sequence[str], now: float
    ) -> VerificationError | None:
        """Return why a certificate doesn't count under any of the names, None if it does."""
        store = Store(self._roots) if self._roots is not None else _usual_authorities()
        policy = (
            PolicyBuilder().store(store).time(datetime.fromtimestamp(now, UTC)).max_chain_depth(MAX_DEPTH)
        )
        problem: VerificationError | None = VerificationError("no name counts")
        for name in names:
            try:
                policy.build_server_verifier(DNSName(name)).verify(leaf, list(given))
            except VerificationError as error:
                problem = error
            else:
                return None
        return problem


def _top(leaf: Certificate, given: Sequence[Certificate]) -> Certificate:
    """Return the last certificate of a chain, as far as it is there."""
    top = leaf
    for _ in given:
        above = next((one for one in given if one.subject == top.issuer and one != top), None)
        if above is None:
            break
        top = above
    return top


def _issuer_address(certificate: Certificate) -> str | None:
    """Return where the issuer's certificate is; None where a certificate doesn't say or is the last."""
    if certificate.issuer == certificate.subject:
        return None
    try:
        access = certificate.extensions.get_extension_for_class(AuthorityInformationAccess).value
    except (ExtensionNotFound, ValueError):
        return None
    places = [
        one.access_location for one in access if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
    ]
    addresses = [place.value for place in places if isinstance(place, UniformResourceIdentifier)]
    return next((one for one in addresses if len(one) <= MAX_URL and _ISSUER.fullmatch(one)), None)


async def _issuer(address: str, fetch: Fetch) -> Certificate:
    """Fetch an issuer's certificate.

    Raises:
        FetchError: it isn't to be had.
    """
    try:
        return certificates_of(body_of(await fetch(Ask(address, plain=True))))[0]
    except (AbsentError, UnreadableKeysError) as error:
        raise FetchError(f"{address} is no issuer's certificate") from error


@cache
def _usual_authorities() -> Store:
    """Return the authorities that connections trust: reading them takes a while."""
    context = httpx.create_ssl_context(trust_env=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # of roots with odd serial numbers
        return Store([load_der_x509_certificate(one) for one in context.get_ca_certs(binary_form=True)])


@dataclass(frozen=True, slots=True)
class CertificatePlace:
    """A certificate at an address that a request names; whoever makes one has held it against a pattern.

    Attributes:
        url: the address.
        family: whose members share an allowance of fetches.
        names: the host names that the certificate may have been issued to.
        trust: who says that it was.
    """

    url: str
    family: str
    names: tuple[str, ...]
    trust: Trust = field(compare=False)

    @property
    def host(self) -> str:
        """Return the host that is asked."""
        return host_of(self.url)

    async def load(self, fetch: Fetch) -> Ring:
        """Fetch the certificate; one that doesn't count has no key."""
        found, now = certificates_of(body_of(await fetch(Ask(self.url)))), time.time()
        try:
            await self.trust.check(found, self.names, fetch, now)
        except UntrustedError as error:
            _log.warning("the certificate at %s doesn't count: %s", self.url, error)
            return EMPTY
        key = key_of_certificate(found[0], now)
        return EMPTY if key is None else (key,)
