"""Interfaces that hand out public keys to who has credentials: Circle, eBay, Plaid, WeChat Pay.

Credentials are one text: `id:secret`, `sandbox:id:secret`, an API key, or for WeChat Pay a JSON object. A
text that is no such credential leads to no place.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509 import load_pem_x509_certificate

from gateway.keys.places import AbsentError, Ask, FetchError, KeyPlace, body_of
from gateway.keys.ring import (
    EMPTY,
    MAX_KEYS,
    PublicKey,
    UnreadableKeysError,
    is_strong,
    json_of,
    key_of_certificate,
    key_of_jwk,
)
from gateway.keys.sealed import KEY_BYTES, is_sealed, unsealed
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from gateway.keys.places import Fetch
    from gateway.keys.ring import Ring

_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_SANDBOX: Final = "sandbox:"
_PROBLEMS: Final = (ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm)
_BAD_REQUEST: Final = 400


@dataclass(frozen=True, slots=True)
class PlaidPlace:
    """One key of Plaid's, as a JSON Web Key (`/webhook_verification_key/get`)."""

    credentials: Secret
    kid: str
    host: str
    family: str = "plaid"

    async def load(self, fetch: Fetch) -> Ring:
        """Fetch the key; one that Plaid has let expire is none."""
        client_id, _, secret = self.credentials.reveal().removeprefix(_SANDBOX).partition(":")
        body = orjson.dumps({"client_id": client_id, "secret": secret, "key_id": self.kid})
        url = f"https://{self.host}/webhook_verification_key/get"
        reply = await fetch(Ask(url, "POST", {"Content-Type": "application/json"}, body))
        if reply.status == _BAD_REQUEST and b"INVALID_WEBHOOK_VERIFICATION_KEY_ID" in reply.body:
            raise AbsentError
        document: Any = json_of(body_of(reply)).get("key")
        key = key_of_jwk(document)
        if key is None:
            raise UnreadableKeysError("it holds no public key")
        return EMPTY if document.get("expired_at") is not None else (key._replace(kid=self.kid),)


@dataclass(frozen=True, slots=True)
class CirclePlace:
    """One key of Circle's, as base64 of its SubjectPublicKeyInfo (`/v2/notifications/publicKey/ID`)."""

    credentials: Secret
    kid: str
    host: str = "api.circle.com"
    family: str = "circle"

    async def load(self, fetch: Fetch) -> Ring:
        """Fetch the key."""
        url = f"https://{self.host}/v2/notifications/publicKey/{quote(self.kid, safe='')}"
        reply = await fetch(Ask(url, headers={"Authorization": f"Bearer {self.credentials.reveal()}"}))
        document = json_of(body_of(reply)).get("data")
        text = document.get("publicKey") if isinstance(document, dict) else None
        try:
            key = load_der_public_key(base64.b64decode(str(text), validate=True))
        except _PROBLEMS as error:
            raise UnreadableKeysError("it holds no public key") from error
        return (PublicKey(self.kid, key),) if is_strong(key) else EMPTY


@dataclass(frozen=True, slots=True)
class EbayPlace:
    """One key of eBay's, as PEM in one line (Notification API, `getPublicKey`)."""

    credentials: Secret
    kid: str
    host: str
    family: str = "ebay"

    async def load(self, fetch: Fetch) -> Ring:
        """Fetch the key with an application's token, which is asked for first."""
        url = f"https://{self.host}/commerce/notification/v1/public_key/{quote(self.kid, safe='')}"
        reply = await fetch(Ask(url, headers={"Authorization": f"Bearer {await self._token(fetch)}"}))
        if reply.status == _BAD_REQUEST:
            raise AbsentError
        text = str(json_of(body_of(reply)).get("key"))
        for end in ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"):
            text = text.replace(end, f"\n{end}\n")
        try:
            key = load_pem_public_key(text.strip().encode())
        except _PROBLEMS as error:
            raise UnreadableKeysError("it holds no public key") from error
        return (PublicKey(self.kid, key),) if is_strong(key) else EMPTY

    async def _token(self, fetch: Fetch) -> str:
        """Get a token by the client credentials grant (RFC 6749, 4.4)."""
        basic = base64.b64encode(self.credentials.reveal().encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        grant = {"grant_type": "client_credentials", "scope": "https://api.ebay.com/oauth/api_scope"}
        url = f"https://{self.host}/identity/v1/oauth2/token"
        reply = await fetch(Ask(url, "POST", headers, urlencode(grant).encode()))
        try:
            token = json_of(body_of(reply)).get("access_token")
        except AbsentError as error:
            raise FetchError("it has no tokens to give") from error
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise FetchError("it gives no token")
        return token


@dataclass(frozen=True, slots=True)
class WechatPlace:
    """All certificates of WeChat Pay's platform, encrypted for the merchant (`/v3/certificates`)."""

    credentials: Secret
    host: str = "api.mch.weixin.qq.com"
    family: str = "wechat-pay"

    async def load(self, fetch: Fetch) -> Ring:
        """Fetch and decrypt the certificates."""
        given = wechat_credentials(self.credentials)
        if given is None:
            raise FetchError("the credentials can't be used")
        headers = {"Authorization": _wechat_authorization(given, "/v3/certificates", time.time())}
        document = json_of(body_of(await fetch(Ask(f"https://{self.host}/v3/certificates", headers=headers))))
        found = document.get("data")
        if not isinstance(found, list):
            raise UnreadableKeysError("it holds no certificates")
        keys = [self._key(one, given["api_v3_key"].encode()) for one in found[:MAX_KEYS]]
        return tuple(key for key in keys if key is not None)

    @staticmethod
    def _key(entry: Any, secret: bytes) -> PublicKey | None:
        box: Any = entry.get("encrypt_certificate") if isinstance(entry, dict) else None
        pem = unsealed(box, secret) if is_sealed(box) else None
        try:
            return key_of_certificate(load_pem_x509_certificate(pem or b""), time.time())
        except _PROBLEMS:
            return None


def wechat_credentials(secret: Secret) -> dict[str, str] | None:
    """Return a merchant's credentials; None where a secret isn't the JSON object that holds them all."""
    try:
        found = orjson.loads(secret.reveal())
    except orjson.JSONDecodeError:
        return None
    names = ("mchid", "serial_no", "private_key", "api_v3_key")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in names):
        return None
    return found if len(found["api_v3_key"].encode()) == KEY_BYTES else None


def _wechat_authorization(given: dict[str, str], path: str, now: float) -> str:
    """Sign a request as a merchant: method, path, time, nonce and body, each in a line.

    Raises:
        FetchError: the private key can't be used.
    """
    nonce, moment = secrets.token_hex(16), str(int(now))
    signed = f"GET\n{path}\n{moment}\n{nonce}\n\n".encode()
    try:
        key = load_pem_private_key(given["private_key"].replace("\\n", "\n").encode(), None)
    except _PROBLEMS as error:
        raise FetchError("the merchant's private key can't be read") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise FetchError("the merchant's private key isn't an RSA key")
    signature = base64.b64encode(key.sign(signed, padding.PKCS1v15(), hashes.SHA256())).decode()
    parts = {
        "mchid": given["mchid"],
        "nonce_str": nonce,
        "signature": signature,
        "timestamp": moment,
        "serial_no": given["serial_no"],
    }
    return "WECHATPAY2-SHA256-RSA2048 " + ",".join(f'{name}="{value}"' for name, value in parts.items())


def _plaid(secret: Secret, kid: str) -> KeyPlace | None:
    text = secret.reveal()
    if not _ID.fullmatch(kid) or not _sendable(text) or ":" not in text.removeprefix(_SANDBOX):
        return None
    return PlaidPlace(secret, kid, f"{'sandbox' if text.startswith(_SANDBOX) else 'production'}.plaid.com")


def _circle(secret: Secret, kid: str) -> KeyPlace | None:
    return CirclePlace(secret, kid) if _ID.fullmatch(kid) and _sendable(secret.reveal()) else None


def _wechat(secret: Secret, kid: str) -> KeyPlace | None:
    return WechatPlace(secret) if _ID.fullmatch(kid) and wechat_credentials(secret) else None


def ebay_place(secret: Secret, kid: str) -> KeyPlace | None:
    """Return where a key of eBay's is; an application of its sandbox has `-SBX-` in its id."""
    text = secret.reveal()
    if not _ID.fullmatch(kid) or not _sendable(text) or ":" not in text:
        return None
    return EbayPlace(secret, kid, "api.sandbox.ebay.com" if "-SBX-" in text else "api.ebay.com")


def _sendable(text: str) -> bool:
    """Say whether a text can be a credential, and fits into a header."""
    return text.isascii() and text.isprintable() and 0 < len(text) <= 1000  # noqa: PLR2004 - more than any has


API_PLACES: Final[dict[str, Callable[[Secret, str], KeyPlace | None]]] = {
    "circle": _circle,
    "plaid": _plaid,
    "wechat-pay": _wechat,
}
