"""Published keys: a recipe's word on where its provider's public keys are, and how a source gets at them.

A source whose secrets hold keys uses those and fetches nothing. Where keys come from an interface that wants
credentials, those are the other secrets of the source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from gateway.keys.apis import API_PLACES
from gateway.keys.places import IssuerPlace, KeySetPlace
from gateway.keys.ring import MAX_KID
from gateway.keys.store import KeyStore
from gateway.keys.wanted import Wanted
from gateway.recipes.parts import Part, checked_selector
from tidemill.kernel.settings.sections import HttpsUrl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.keys.places import KeyPlace
    from gateway.keys.ring import PublicKey
    from tidemill.kernel.settings.secrets import Secret

KID: Final = "tidemill"
"""Id of the key with which samples and tests are signed."""
FETCHED: Final = -2
"""Stands for the index of the secret that matched where a key was fetched without one."""


class PublishedKeys(Part):
    """Where the provider publishes its public keys. Without a place the source's `keys` names it."""

    url: HttpsUrl | None = Field(default=None, description="address of a JSON Web Key Set (RFC 7517)")
    issuer: HttpsUrl | None = Field(
        default=None, description="an OpenID issuer, whose configuration names the key set"
    )
    api: Literal["circle", "plaid", "wechat-pay"] | None = Field(
        default=None,
        description="an interface of the provider's, asked with the credentials among the source's secrets",
    )
    kid: Annotated[str, AfterValidator(checked_selector("header:", "query:"))] | None = Field(
        default=None, description="header:NAME or query:NAME of the key's id; a token names its key itself"
    )

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if sum(place is not None for place in (self.url, self.issuer, self.api)) > 1:
            raise ValueError("url, issuer and api exclude each other")
        return self

    @property
    def anywhere(self) -> bool:
        """Whether only a source can say where the keys are."""
        return (self.url, self.issuer, self.api) == (None, None, None)


def needs_address(proof: BaseModel) -> bool:
    """Say whether a proof's public keys are at an address that only a source can name."""
    keys = getattr(proof, "keys", None)
    return getattr(proof, "name", None) == "neon" or (isinstance(keys, PublishedKeys) and keys.anywhere)


class KeyAccess(NamedTuple):
    """How a source gets at published keys.

    Attributes:
        store: where they are kept.
        url: the key set that the source's settings name instead of the recipe's.
    """

    store: KeyStore
    url: str | None = None


class KeyFinder:
    """Finds a provider's published keys for requests of one source."""

    def __init__(self, published: PublishedKeys, access: KeyAccess | None) -> None:
        self._published = published
        self._store = access.store if access is not None else KeyStore()
        self._api = API_PLACES[published.api] if published.api is not None else None
        self._fixed = _fixed_place(published, access.url if access is not None else None)

    @property
    def wants_credentials(self) -> bool:
        """Whether fetching takes credentials."""
        return self._api is not None

    def find(self, kid: str | None, credentials: Sequence[tuple[int, Secret]]) -> Found | None:
        """Return the keys that may have signed, each with the index of the secret that it was fetched with.

        Args:
            kid: the key's id as the request says it; None where it says none.
            credentials: the secrets that are no keys, with their indexes.

        Returns:
            the keys, none where there is no such key; what has to be fetched first; or None where none
            of the secrets can be such credentials.
        """
        found: list[tuple[int, PublicKey]] = []
        missing: Wanted | None = None
        places = list(self._places(kid, credentials))
        for index, place in places:
            keys = self._store.find(place, kid)
            if isinstance(keys, Wanted):
                missing = missing or keys
            elif keys is not None:
                found += [(index, key) for key in keys]
        if not places:
            return None
        return found if found or missing is None else missing

    def again(self) -> Wanted | None:
        """Return what to fetch where a signature that names no key matches none; None where it is early."""
        return self._store.again(self._fixed) if self._fixed is not None else None

    def _places(
        self, kid: str | None, credentials: Sequence[tuple[int, Secret]]
    ) -> Iterator[tuple[int, KeyPlace]]:
        if self._fixed is not None:
            yield FETCHED, self._fixed
        elif self._api is not None and kid is not None:
            for index, secret in credentials:
                place = self._api(secret, kid)
                if place is not None:
                    yield index, place


Found = list[tuple[int, "PublicKey"]] | Wanted


def _fixed_place(published: PublishedKeys, url: str | None) -> KeyPlace | None:
    """Return the place that no request chooses; the operator's own may be inside of a network."""
    address = url or published.url
    if address is not None:
        return KeySetPlace(address, public=False)
    return IssuerPlace(published.issuer, public=False) if published.issuer is not None else None


def kid_text(value: Any) -> str | None:
    """Return a key's id as text, None where it is none that any key could have."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value if isinstance(value, str) and 0 < len(value) <= MAX_KID and value.isprintable() else None
