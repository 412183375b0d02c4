"""Logins at an identity provider: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from gateway.access.claims import claim
from gateway.access.fetch import fetch_json
from gateway.access.keysets import KeySource, check_claims
from gateway.keys.https import HttpsFetch
from gateway.keys.store import KeyStore
from tidemill.kernel.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.keys.places import Fetch
    from tidemill.kernel.settings.control import OidcSettings
    from tidemill.kernel.settings.secrets import Secret

CALLBACK: Final = "/login/callback"
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_FRESH: Final = 3600.0
_BASIC: Final = "client_secret_basic"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says about itself (OpenID Connect Discovery 1.0)."""

    authorization: str
    token: str
    userinfo: str | None
    basic: bool
    keys: KeySource


@dataclass(frozen=True, slots=True)
class Challenge:
    """What one login is held together by: only who began it can end it."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Challenge:
        """Return one that nobody can guess."""
        return cls(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48))


class Oidc:
    """Tidemill as a client of one provider.

    Args:
        settings: which, and what is wanted of it.
        secret: what the client proves itself with; None for a public one.
        public_url: where browsers reach the control listener.
        clocks: the time of day, and one that only goes forward.
        fetch: asks the provider; by default directly.
        store: where its keys are kept; by default a store of its own.
    """

    def __init__(  # noqa: PLR0913 - what a client of a provider is made of
        self,
        settings: OidcSettings,
        secret: Secret | None,
        public_url: str,
        clocks: tuple[Callable[[], float], Callable[[], float]] = (time.time, time.monotonic),
        *,
        fetch: Fetch | None = None,
        store: KeyStore | None = None,
    ) -> None:
        self.settings = settings
        self._secret = secret
        self._redirect = public_url.rstrip("/") + CALLBACK
        self._now, self._monotonic = clocks
        self._fetch = fetch or HttpsFetch()
        self._store = store or KeyStore(self._fetch, self._monotonic)
        self._metadata: Metadata | None = None
        self._at = float("-inf")

    async def address(self, challenge: Challenge) -> str:
        """Return where a browser has to go to log in.

        Raises:
            ProviderError: the provider can't be asked about itself.
        """
        metadata = await self._discover()
        digest = hashlib.sha256(challenge.verifier.encode()).digest()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self.settings.client_id,
                "redirect_uri": self._redirect,
                "scope": " ".join(self.settings.scopes),
                "state": challenge.state,
                "nonce": challenge.nonce,
                "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
                "code_challenge_method": "S256",
            }
        )
        separator = "&" if urlsplit(metadata.authorization).query else "?"
        return f"{metadata.authorization}{separator}{query}"

    async def claims(self, answer: Mapping[str, str], challenge: Challenge) -> dict[str, Any]:
        """Return what the provider says about who came back from it with an answer.

        Raises:
            ProviderError: the answer isn't to this login, or the provider doesn't vouch for anybody.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(), challenge.state.encode()):
            raise ProviderError("this answer isn't to your login", hint="log in again, in one window")
        if answer.get("iss", self.settings.issuer) != self.settings.issuer:  # RFC 9207
            raise ProviderError("this answer is of another identity provider", hint="log in again")
        if "error" in answer or "code" not in answer:
            raise ProviderError("the identity provider didn't let you in", hint="log in again, or ask there")
        metadata = await self._discover()
        tokens = await self._redeem(metadata, answer["code"], challenge.verifier)
        return await self._vouched(metadata, tokens, challenge)

    async def _redeem(self, metadata: Metadata, code: str, verifier: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "code_verifier": verifier,
        }
        if self._secret is None:
            form["client_id"] = self.settings.client_id
            return await fetch_json(self._fetch, metadata.token, form=form)
        if metadata.basic:
            pair = f"{_quoted(self.settings.client_id)}:{_quoted(self._secret.reveal())}"
            basic = f"Basic {base64.b64encode(pair.encode()).decode()}"
            return await fetch_json(self._fetch, metadata.token, form=form, authorization=basic)
        form |= {"client_id": self.settings.client_id, "client_secret": self._secret.reveal()}
        return await fetch_json(self._fetch, metadata.token, form=form)

    async def _vouched(
        self, metadata: Metadata, tokens: dict[str, Any], challenge: Challenge
    ) -> dict[str, Any]:
        """Return the claims of the identity token, completed by what the provider says when asked."""
        claims = await metadata.keys.claims(str(tokens.get("id_token", "")))
        client = self.settings.client_id
        check_claims(claims, issuer=self.settings.issuer, audience=client, now=self._now())
        if claims.get("azp", client) != client:
            raise ProviderError(f"the token isn't for {client}")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), challenge.nonce.encode()):
            raise ProviderError("the token isn't of this login", hint="log in again")
        wanted = (self.settings.name_claim, self.settings.roles_claim)
        if metadata.userinfo is None or all(claim(claims, name) is not None for name in wanted):
            return claims
        more = await fetch_json(
            self._fetch, metadata.userinfo, authorization=f"Bearer {tokens.get('access_token', '')}"
        )
        if more.get("sub") != claims.get("sub"):  # OpenID Connect Core 5.3.2
            raise ProviderError("the identity provider speaks of two people", hint="log in again")
        return more | claims

    async def _discover(self) -> Metadata:
        if self._metadata is None or self._monotonic() - self._at > _FRESH:
            issuer = self.settings.issuer
            document = await fetch_json(self._fetch, issuer.rstrip("/") + _WELL_KNOWN)
            if document.get("issuer") != issuer:
                raise ProviderError(
                    f"{issuer} calls itself {document.get('issuer')!r}",
                    hint="write control.oidc.issuer exactly as the provider does",
                )
            self._metadata = _metadata(document, issuer, self._store)
            self._at = self._monotonic()
        return self._metadata


def _metadata(document: dict[str, Any], issuer: str, store: KeyStore) -> Metadata:
    """Read a provider's metadata.

    Raises:
        ProviderError: an address is missing, or isn't as safe as the issuer's own.
    """
    addresses: dict[str, str] = {}
    scheme = "https://" if issuer.startswith("https:") else ("http://", "https://")
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
        found = document.get(name)
        if found is None and name == "userinfo_endpoint":
            continue
        if not isinstance(found, str) or not found.startswith(scheme):
            raise ProviderError(f"{issuer} names no {name} of use", hint="is that an OpenID provider?")
        addresses[name] = found
    methods = document.get("token_endpoint_auth_methods_supported", [_BASIC])
    return Metadata(
        authorization=addresses["authorization_endpoint"],
        token=addresses["token_endpoint"],
        userinfo=addresses.get("userinfo_endpoint"),
        basic=isinstance(methods, list) and _BASIC in methods,
        keys=KeySource(addresses["jwks_uri"], store),
    )


def _quoted(text: str) -> str:
    """Return a part of the client's credentials as RFC 6749 (2.3.1) wants it: encoded as in a form."""
    return urlencode({"": text})[1:]
