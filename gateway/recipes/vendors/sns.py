"""AWS SNS: some fields of a message, each with its name, are signed with the key of a certificate.

The certificate is fetched from where `SigningCertURL` of a message leads, on a host of AWS alone and only for
messages that could be genuine; or it is the source's secret, and nothing is fetched. All topics of all of
AWS's customers are signed alike: the source's verify tokens say whose ARNs count.
A fetched certificate counts where an authority vouches that it was issued to SNS.
Source: AWS's guide to verifying message signatures, aws-sns-message-validator on PyPI, and for the names of
certificates `SnsHostProvider` of AWS's SDK for Java 2.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Any, Final, Literal

from gateway.keys.places import PinnedUrls, host_of
from gateway.keys.store import KeyStore
from gateway.recipes.candidates import SignatureReader
from gateway.recipes.proofs import Rsa, Signature
from gateway.recipes.refusal import refused
from gateway.recipes.schemes.public_key import RsaScheme
from gateway.recipes.vendors.keys import MISMATCH, NO_KEY, Keys, certified_keys, match, own_keys
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.keys.wanted import Wanted
    from gateway.recipes.draft import Draft
    from gateway.recipes.message import Message
    from gateway.recipes.published import KeyAccess
    from gateway.recipes.vendors.vendor import Tokens
    from gateway.recipes.verified import Verified
    from gateway.verdict import Refused
    from tidemill.kernel.settings.secrets import Secret

_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_FIELDS: Final = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
CERTIFICATES: Final = PinnedUrls(
    r"sns\.[a-z0-9-]{4,40}\.amazonaws\.com(\.cn)?/SimpleNotificationService-[0-9a-f]{8,64}\.pem"
)
_FOREIGN: Final = refused("certificate_foreign", "The certificate's address isn't one of SNS's.")
_DOMAIN: Final = "amazonaws.com"
_GOVERNMENT: Final = "sns-us-gov-west-1.amazonaws.com"
_OPTIONAL: Final = frozenset({"Subject"})
_OTHER_TOPIC: Final = refused(
    "topic_unknown", "The message is of a topic that isn't among the verify tokens."
)
_READER: Final = SignatureReader(Signature(at="body:Signature", encoding="base64"))


class SnsVerifier:
    """Verifies messages of both versions of SNS's signatures."""

    def __init__(self, tokens: Tokens, access: KeyAccess | None = None) -> None:
        self._topics = tokens
        self._store = access.store if access is not None else KeyStore()
        self._schemes = {"1": _scheme("sha1"), "2": _scheme("sha256")}

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | Wanted | None:
        """Verify a request; None where its body carries no signature."""
        document = message.document
        signature = document.get("Signature") if isinstance(document, dict) else None
        if not isinstance(signature, str):
            return None
        scheme = self._schemes.get(str(document.get("SignatureVersion")))
        if scheme is None:
            return refused(
                "version_unknown", "The signature is of a version that this source doesn't accept."
            )
        signed = signed_fields(document)
        if signed is None:
            return refused("signed_part_missing", "Something that is a part of what is signed is missing.")
        return self._match(message, scheme, signed, secrets) if self._wants(document) else _OTHER_TOPIC

    def _wants(self, document: dict[str, Any]) -> bool:
        arn = document["TopicArn"].encode("utf-8", "surrogatepass")
        topics = [topic.reveal().encode("utf-8", "surrogatepass") for topic in self._topics()]
        return any(hmac.compare_digest(arn, topic) for topic in topics)

    def _match(
        self, message: Message, scheme: RsaScheme, signed: bytes, secrets: Sequence[Secret]
    ) -> Verified | Refused | Wanted:
        keys = (own_keys(scheme, secrets) or NO_KEY) if secrets else self._fetched(message, scheme)
        if not isinstance(keys, list):
            return keys
        return match(scheme, keys, signed, [(_READER, _READER.read(message))])

    def _fetched(self, message: Message, scheme: RsaScheme) -> Keys | Wanted | Refused:
        address = message.document.get("SigningCertURL")
        if not isinstance(address, str) or not CERTIFICATES.allows(address):
            return _FOREIGN
        if not any(_READER.decoded(one) for one in _READER.read(message).candidates):
            return MISMATCH
        return certified_keys(scheme, self._store, address, "sns", names_of(host_of(address)))

    def sign(self, draft: Draft, secret: Secret) -> None:
        """Sign the message that the body is.

        Raises:
            SettingsError: the secret is no private key in PEM, or the body is no message of SNS.
        """
        draft.put_value(("SignatureVersion",), "2")
        signed = signed_fields(draft.message().document)
        if signed is None:
            raise SettingsError(
                "the body is no message of SNS", hint=f"give JSON with the fields {', '.join(_NOTIFICATION)}"
            )
        signature = self._schemes["2"].signature(secret, signed)
        draft.put_value(("Signature",), base64.b64encode(signature).decode())


def _scheme(algorithm: Literal["sha1", "sha256"]) -> RsaScheme:
    place = Signature(at="body:Signature", encoding="base64")
    return RsaScheme(
        Rsa(scheme="rsa", algorithm=algorithm, signature=[place], signed="{body:Type}", body_unsigned=True)
    )


def names_of(host: str) -> tuple[str, ...]:
    """Return the names that a certificate of SNS may have been issued to, by the host that it is at.

    It is `sns.amazonaws.com` in most regions, `sns-signing.REGION.amazonaws.com` in those that customers opt
    in to, and a name of its own in China and for the government of the USA.
    """
    _, region, domain = host.split(".", 2)
    own = (f"sns-signing.{region}.{domain}", f"sns-{region}.{domain}", host)
    if domain != _DOMAIN:
        return own
    return (f"sns.{_DOMAIN}", *own, *((_GOVERNMENT,) if region.startswith("us-gov-") else ()))


def signed_fields(document: Any) -> bytes | None:
    """Return what is signed of a message: names and values in lines; None where one is missing."""
    names = _FIELDS.get(str(document.get("Type"))) if isinstance(document, dict) else None
    if names is None:
        return None
    lines: list[str] = []
    for name in names:
        value = document.get(name)
        if value is None and name in _OPTIONAL:
            continue
        if not isinstance(value, str):
            return None
        lines += [name, value]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
