"""Signing again what another gateway has verified: with a secret of one's own, all else as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from gateway.recipes import selector, template
from gateway.recipes.draft import Draft
from gateway.recipes.proofs import Jwt, SharedSecret, Vendor
from gateway.recipes.sign import Facts, SignedRequest, prove
from gateway.recipes.verify import secret_headers
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.recipes.proofs import Proof
    from gateway.recipes.recipe import Recipe
    from gateway.recipes.vendors.vendor import Tokens
    from tidemill.kernel.settings.secrets import Secret

_OF_THE_WAY: Final = frozenset(
    {
        *("host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"),
        *("content-length", "content-encoding", "accept-encoding", "forwarded", "via", "x-real-ip"),
        *("proxy-connection", "proxy-authorization", "proxy-authenticate"),
    }
)
_FORWARDED: Final = ("x-forwarded-", "cf-", "tidemill-")


class _Headers(dict[str, str]):
    """Headers by their names in lower case, however they are written."""

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name.lower(), value)

    def __ior__(self, others: Mapping[str, str]) -> Self:  # type: ignore[override, misc] # a dict takes pairs too
        for name, value in others.items():
            self[name] = value
        return self


def resign(  # noqa: PLR0913 - what is known of a delivery, each by name
    recipe: Recipe,
    secret: Secret,
    headers: Mapping[str, str],
    body: bytes,
    *,
    event_type: str,
    event_id: str,
    timestamp: float,
    url: str,
    renamed: bool = False,
    tokens: Tokens = tuple,
) -> SignedRequest:
    """Return a delivery as if its provider had sent it to `url` and knew this secret.

    Headers and body stay as they came, but for signatures, the signed time, and what belongs to a connection.

    Args:
        recipe: the provider's; without a way to verify nothing is signed.
        secret: the secret to sign with, as for `sign_request`.
        headers: those that the delivery came with.
        body: the body that it came with.
        event_type: the provider's type.
        event_id: the event's id; where a delivery id is signed, that which it came with.
        timestamp: seconds since the epoch, for what is signed.
        url: where it is posted to.
        renamed: the id of the delivery becomes `event_id`, where it stands in a header.
        tokens: as for `sign_request`.

    Raises:
        SettingsError: the secret can't sign, or the body has no place for the signature.
    """
    facts = Facts(event_type, event_id, timestamp)
    problem: SettingsError | None = None
    for proof in _ways(recipe, headers):
        draft = Draft(_kept(recipe, headers), body, url, timestamp, indented=recipe.sender.indented)
        if renamed:
            _rename(recipe, draft, event_id)
        if proof is None:
            return SignedRequest(dict(draft.headers), draft.body, draft.url)
        identity = event_id if renamed else _signed_id(proof, draft) or event_id
        try:
            prove(recipe, proof, secret, draft, facts._replace(event_id=identity), tokens)
        except SettingsError as error:  # the secret may be for another way
            problem = problem or error
        else:
            return SignedRequest(dict(draft.headers), draft.body, draft.url)
    raise problem or AssertionError("there is always a way")


def _ways(recipe: Recipe, headers: Mapping[str, str]) -> list[Proof | None]:
    """Return the ways to sign, that by which the delivery came first; None where nothing is signed."""
    names = {name.lower() for name in headers}
    came = [proof for proof in recipe.verify if _places(proof) & names]
    # Headers that hold a secret itself aren't kept, so that of the others any may be the one.
    return [*came, *(proof for proof in recipe.verify if proof not in came)] or [None]


def _places(proof: Proof) -> set[str]:
    """Return the names of the headers, in lower case, in which a proof's signature stands."""
    if isinstance(proof, SharedSecret | Jwt | Vendor):
        return set()
    places = (selector.parse(form.at) for form in proof.signature)
    return {place.name.lower() for place in places if place.place == "header"}


def _kept(recipe: Recipe, headers: Mapping[str, str]) -> _Headers:
    """Return the headers that go on, in lower case."""
    signatures = {name for proof in recipe.verify for name in _places(proof)}
    gone = {*_OF_THE_WAY, *signatures, *(name.decode() for name in secret_headers(recipe))}
    stems = (*_FORWARDED, *(name[:-1] for name in signatures if name.endswith("*")))
    kept = _Headers()
    for name, value in headers.items():
        if name.lower() not in gone and not name.lower().startswith(stems):
            kept[name] = value
    return kept


def _signed_id(proof: Proof, draft: Draft) -> str | None:
    at = getattr(proof, "id", None)
    found = draft.message().value(selector.parse(at)) if at else None
    return found.decode("latin-1") if found else None


def _rename(recipe: Recipe, draft: Draft, event_id: str) -> None:
    for text in recipe.event.id:
        found = template.lone_selector(text)
        if found is not None and found.place == "header":
            draft.put(found, event_id)
            return
