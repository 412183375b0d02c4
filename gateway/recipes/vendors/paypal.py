"""PayPal: the CRC-32 of the body is signed, together with an id, a time and the id of the webhook.

The signing certificate is at an address that the request names, on a host of PayPal's; nothing else is
asked. It counts where an authority vouches that it was issued to PayPal's webhooks. All of PayPal's customers
are signed for with the same certificates: the webhook's id, which is a verify token of the source, says whose
requests count. A CRC is no hash: of two requests that PayPal has signed one can't take the other's signature,
but nobody should rely on it against PayPal itself.
Source: paypalrestsdk on PyPI, `WebhookEvent.verify`, PayPal's guide to integrating webhooks, and for the
certificate's name `SSLUtil.validateCertificateChain` of PayPal's SDK for Java.
"""

from __future__ import annotations

import base64
import uuid
import zlib
from typing import TYPE_CHECKING, Final

from gateway.keys.places import PinnedUrls, host_of
from gateway.keys.store import KeyStore
from gateway.keys.wanted import Wanted
from gateway.recipes.candidates import SignatureReader
from gateway.recipes.moment import datetime_of, parse_moment
from gateway.recipes.proofs import Rsa, Signature
from gateway.recipes.refusal import refused
from gateway.recipes.schemes.public_key import RsaScheme
from gateway.recipes.stamp import window_problem
from gateway.recipes.vendors.keys import MISMATCH, NO_KEY, PART_MISSING, Keys, certified_keys, match, own_keys
from tidemill.kernel.clock import rfc3339
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.draft import Draft
    from gateway.recipes.message import Message
    from gateway.recipes.published import KeyAccess
    from gateway.recipes.vendors.vendor import Tokens
    from gateway.recipes.verified import Verified
    from gateway.verdict import Refused

CERTIFICATES: Final = PinnedUrls(
    r"api(-m)?(\.sandbox)?\.paypal\.com/v1/notifications/certs/CERT-[A-Za-z0-9-]{1,100}"
)
_NAMES: Final = ("messageverificationcerts.paypal.com",)
_SANDBOX_NAMES: Final = ("messageverificationcerts.sandbox.paypal.com", *_NAMES)
PAST: Final = 4 * 86400.0
"""Seconds that a transmission may be old: PayPal tries for three days."""
FUTURE: Final = 300.0
_ID, _TIME, _SIGNATURE = b"paypal-transmission-id", b"paypal-transmission-time", b"paypal-transmission-sig"
_ALGORITHM, _ADDRESS = b"paypal-auth-algo", b"paypal-cert-url"
_SHA256: Final = b"SHA256withRSA"
_READER: Final = SignatureReader(Signature(at="header:PAYPAL-TRANSMISSION-SIG", encoding="base64"))
_UNKNOWN_ALGORITHM: Final = refused(
    "algorithm_unknown", "The signature is of a kind that this source doesn't accept."
)
_NO_WEBHOOK: Final = refused("identity_unknown", "This source has no webhook's id among its verify tokens.")
_FOREIGN: Final = refused("certificate_foreign", "The certificate's address isn't one of PayPal's.")


class PaypalVerifier:
    """Verifies webhooks of PayPal's."""

    def __init__(self, tokens: Tokens, access: KeyAccess | None) -> None:
        self._webhooks = tokens
        self._store = access.store if access is not None else KeyStore()
        place = Signature(at="header:PAYPAL-TRANSMISSION-SIG", encoding="base64")
        self._scheme = RsaScheme(Rsa(scheme="rsa", signature=[place]))

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | Wanted | None:
        """Verify a request; None where it carries no signature."""
        inbound = message.inbound
        if inbound.header(_SIGNATURE) is None:
            return None
        problem = self._form_problem(message)
        keys = problem or self._keys(message, secrets)
        if not isinstance(keys, list):
            return keys
        offers = [(_READER, _READER.read(message))]
        prefix, checksum = _prefix(message) or b"", b"|%d" % zlib.crc32(inbound.body)
        webhooks = (one.reveal().encode("utf-8", "surrogatepass") for one in self._webhooks())
        outcomes = (match(self._scheme, keys, prefix + one + checksum, offers) for one in webhooks)
        return next((outcome for outcome in outcomes if outcome is not MISMATCH), MISMATCH)

    def _form_problem(self, message: Message) -> Refused | None:
        """Say why a request can't be right, whoever signed it."""
        inbound = message.inbound
        if inbound.header(_ALGORITHM) != _SHA256:
            return _UNKNOWN_ALGORITHM
        if _prefix(message) is None:
            return PART_MISSING
        if not self._webhooks():
            return _NO_WEBHOOK
        return _time_problem(inbound.header(_TIME) or b"", inbound.received_at)

    def _keys(self, message: Message, secrets: Sequence[Secret]) -> Keys | Wanted | Refused:
        if secrets:
            return own_keys(self._scheme, secrets) or NO_KEY
        address = (message.inbound.header(_ADDRESS) or b"").decode("latin-1")
        if not CERTIFICATES.allows(address):
            return _FOREIGN
        if not any(_READER.decoded(one) for one in _READER.read(message).candidates):
            return MISMATCH
        return certified_keys(self._scheme, self._store, address, "paypal", names_of(host_of(address)))

    def sign(self, draft: Draft, secret: Secret) -> None:
        """Sign a request.

        Raises:
            SettingsError: the secret is no private key in PEM, or there is no webhook's id.
        """
        webhook = next(iter(self._webhooks()), None)
        moment = datetime_of(draft.message().inbound.received_at)
        if webhook is None or moment is None:
            raise SettingsError(
                "the request can't be signed: the webhook's id is a part of what is signed",
                hint="put it among the source's verify_tokens",
            )
        draft.headers |= {
            "PAYPAL-TRANSMISSION-ID": str(uuid.uuid4()),
            "PAYPAL-TRANSMISSION-TIME": rfc3339(moment),
            "PAYPAL-AUTH-ALGO": _SHA256.decode(),
            "PAYPAL-CERT-URL": "https://api.paypal.com/v1/notifications/certs/CERT-0",
        }
        prefix = _prefix(draft.message()) or b""
        signed = prefix + webhook.reveal().encode() + b"|%d" % zlib.crc32(draft.body)
        signature = base64.b64encode(self._scheme.signature(secret, signed))
        draft.headers["PAYPAL-TRANSMISSION-SIG"] = signature.decode()


def names_of(host: str) -> tuple[str, ...]:
    """Return the names that a certificate of PayPal's may have been issued to, by the host that it is at."""
    return _SANDBOX_NAMES if ".sandbox." in host else _NAMES


def _prefix(message: Message) -> bytes | None:
    """Return what stands before the webhook's id in what is signed, None where something is missing."""
    identity, moment = message.inbound.header(_ID), message.inbound.header(_TIME)
    if not identity or not moment or b"|" in identity or b"|" in moment:
        return None
    return identity + b"|" + moment + b"|"


def _time_problem(moment: bytes, now: float) -> Refused | None:
    return window_problem(parse_moment(moment.decode("latin-1"), "rfc3339"), now, PAST, FUTURE)
