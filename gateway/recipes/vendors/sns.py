"""AWS SNS: some fields of a message, each with its name, are signed with the key of a certificate.

The certificate, or its public key, is the source's secret: it is what `SigningCertURL` of a message leads
to, on a host of AWS. That URL itself is never followed, since whoever sends the message writes it. All
topics of all of AWS's customers are signed alike: the source's verify tokens say whose ARNs count.
Source: AWS's guide to verifying message signatures, and aws-sns-message-validator on PyPI.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Any, Final, Literal

from gateway.recipes.candidates import SignatureReader
from gateway.recipes.proofs import Rsa, Signature
from gateway.recipes.refusal import refused
from gateway.recipes.schemes.public_key import RsaScheme
from gateway.recipes.verified import Verified
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.draft import Draft
    from gateway.recipes.message import Message
    from gateway.recipes.vendors.vendor import Tokens
    from gateway.verdict import Refused
    from tidemill.kernel.settings.secrets import Secret

_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_FIELDS: Final = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_OPTIONAL: Final = frozenset({"Subject"})
_OTHER_TOPIC: Final = refused(
    "topic_unknown", "The message is of a topic that isn't among the verify tokens."
)
_READER: Final = SignatureReader(Signature(at="body:Signature", encoding="base64"))


class SnsVerifier:
    """Verifies messages of both versions of SNS's signatures."""

    def __init__(self, tokens: Tokens) -> None:
        self._topics = tokens
        self._schemes = {"1": _scheme("sha1"), "2": _scheme("sha256")}

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | None:
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
    ) -> Verified | Refused:
        offer = _READER.read(message)
        keys = [
            (index, key) for index, secret in enumerate(secrets) if (key := scheme.key(secret)) is not None
        ]
        for index, key in keys:
            if scheme.accepts(key, signed, [(_READER, offer)]):
                return Verified(index)
        if keys:
            return refused(
                "signature_mismatch", "No signature matches the message with an active certificate."
            )
        return refused("secret_missing", "This source has no certificate to verify with.")

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
