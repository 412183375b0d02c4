"""Signing: the recipe engine run backwards, so that samples and tests speak as the provider does."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from gateway.recipes import selector, template
from gateway.recipes.candidates import Offer, SignatureReader
from gateway.recipes.draft import Draft
from gateway.recipes.moment import datetime_of
from gateway.recipes.proofs import Jwt, PublicKeyProof, SharedSecret, Vendor
from gateway.recipes.published import KID
from gateway.recipes.schemes.shared_secret import SharedSecretVerifier
from gateway.recipes.signature_verifier import scheme_of, signed_content
from gateway.recipes.signed import Given
from gateway.recipes.tokens import TokenVerifier
from gateway.recipes.vendors.known import vendor_verifier
from tidemill.kernel.clock import rfc3339
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from gateway.recipes.proofs import Proof, Signature, SignedHeaders, SignedProof
    from gateway.recipes.recipe import Recipe
    from gateway.recipes.vendors.vendor import Tokens
    from tidemill.kernel.settings.secrets import Secret

_UNLISTED = frozenset({"user-agent", "accept"})


class SignedRequest(NamedTuple):
    """A request as its provider would send it.

    Attributes:
        headers: by name.
        body: the raw body, which holds the signature where the provider puts it there.
        url: where to post it, with the parameters that the proof adds.
    """

    headers: dict[str, str]
    body: bytes
    url: str


class Facts(NamedTuple):
    """What is known of the event that is sent: its provider's type, its id, and the moment."""

    event_type: str
    event_id: str
    timestamp: float


def sign_request(  # noqa: PLR0913 - what a provider decides about one request, each by name
    recipe: Recipe,
    secret: Secret,
    body: bytes,
    *,
    event_type: str,
    event_id: str,
    timestamp: float,
    url: str = "",
    way: int = 0,
    tokens: Tokens = tuple,
) -> SignedRequest:
    """Return a POST of `body` as the recipe's provider would send it.

    Args:
        recipe: the provider's.
        secret: the secret as the provider shows it; a private key in PEM for schemes with a public key.
        body: the raw body; where its JSON holds the action, that is taken off the type.
        event_type: the provider's type, `issues.opened` or `issues`.
        event_id: the delivery's id.
        timestamp: seconds since the epoch.
        url: where it is posted to, for recipes that sign it.
        way: index of one of the recipe's ways to verify.
        tokens: returns the source's verify tokens, for providers that sign one of them.

    Raises:
        SettingsError: the secret isn't of the recipe's form, or the body has no place for the signature.
    """
    headers = {"Content-Type": "application/json", **recipe.sender.headers}
    headers |= _named(recipe.event.type, _without_action(recipe, body, event_type))
    headers |= _named(recipe.event.id, event_id)
    draft = Draft(headers, body, url, timestamp, indented=recipe.sender.indented)
    if recipe.verify:
        prove(recipe, recipe.verify[way], secret, draft, Facts(event_type, event_id, timestamp), tokens)
    return SignedRequest(draft.headers, draft.body, draft.url)


def prove(  # noqa: PLR0913, PLR0917 - what a proof is made of
    recipe: Recipe, proof: Proof, secret: Secret, draft: Draft, facts: Facts, tokens: Tokens = tuple
) -> None:
    """Write one of a recipe's proofs into a request.

    Raises:
        SettingsError: as for `sign_request`.
    """
    if isinstance(proof, SharedSecret):
        _show(proof, secret, draft)
    elif isinstance(proof, Jwt):
        TokenVerifier(proof, tokens=tokens).sign(draft, secret, facts.event_id, facts.timestamp)
    elif isinstance(proof, Vendor):
        vendor_verifier(proof, tokens).sign(draft, secret)
    else:
        _Signer(recipe, proof, facts).sign(draft, secret)


def sign(  # noqa: PLR0913 - the same
    recipe: Recipe,
    secret: Secret,
    body: bytes,
    *,
    event_type: str,
    event_id: str,
    timestamp: float,
    url: str = "",
    way: int = 0,
) -> dict[str, str]:
    """Return the headers of a POST of `body` as the recipe's provider would send it: see `sign_request`.

    Raises:
        SettingsError: it can't be signed, or not by headers alone.
    """
    signed = sign_request(
        recipe, secret, body, event_type=event_type, event_id=event_id, timestamp=timestamp, url=url, way=way
    )
    if (signed.body, signed.url) != (body, url):
        raise SettingsError(
            f"{recipe.name} doesn't prove its requests by headers alone",
            hint="use sign_request, which returns body and URL too",
        )
    return signed.headers


class _Signer:
    """Writes one kind of signature into drafts."""

    def __init__(self, recipe: Recipe, proof: SignedProof, facts: Facts) -> None:
        self._recipe, self._proof, self._facts = recipe, proof, facts
        self._form = proof.signature[0]
        self._reader = SignatureReader(self._form)
        self._beside: dict[str, str] = {}

    def sign(self, draft: Draft, secret: Secret) -> None:
        """Write signature, and signed id and time."""
        for at, text in self._proof.require.items():
            draft.put(selector.parse(at), text)
        if self._proof.id is not None:
            draft.put(selector.parse(self._proof.id), self._facts.event_id)
        keys = self._proof.keys if isinstance(self._proof, PublicKeyProof) else None
        if keys is not None and keys.kid is not None:
            draft.put(selector.parse(keys.kid), KID)
        stamp = self._stamp(draft)
        if self._proof.body_hash is not None:
            draft.put(selector.parse(self._proof.body_hash), hashlib.sha256(draft.body).hexdigest())
        self._fill(draft)
        if self._proof.signed_headers is not None:
            self._list_headers(draft, self._proof.signed_headers)
        scheme = scheme_of(self._proof)
        given = self._given(draft, stamp)
        key = scheme.key(secret)
        signed = self._render(draft, given if key is None else given._replace(secret=scheme.shown(key)))
        draft.put(selector.parse(self._form.at), self._written(scheme.signature(secret, signed)))

    def _render(self, draft: Draft, given: Given) -> bytes:
        signed = signed_content(self._proof, draft.origin).render(draft.message(), given)
        if signed is None:
            raise SettingsError(
                "the request can't be signed: a part of what is signed is missing",
                hint=f"the recipe signs {self._proof.signed!r}",
            )
        return signed

    def _stamp(self, draft: Draft) -> str | None:
        recipe = self._proof.timestamp
        if recipe is None:
            return None
        text, at = written_moment(self._facts.timestamp, recipe.unit), selector.parse(recipe.at)
        if at.place == "signature":
            self._beside[at.name] = text
        else:
            draft.put(at, int(text) if at.place == "body" and text.isdigit() else text)
        return text

    def _fill(self, draft: Draft) -> None:
        """Put something where a variable of what is signed is missing."""
        for hole in template.selectors(template.parse(self._proof.signed)):
            if hole.name and not draft.holds(hole):
                draft.put(hole, self._likely(str(hole)))

    def _likely(self, hole: str) -> str:
        if f"{{{hole}}}" in self._recipe.event.type:
            return self._facts.event_type
        times = [moment for moment in self._recipe.event.time if moment.at == hole]
        return written_moment(self._facts.timestamp, times[0].unit) if times else self._facts.event_id

    def _list_headers(self, draft: Draft, recipe: SignedHeaders) -> None:
        at = selector.parse(recipe.at)
        names = [name.lower() for name in draft.headers if name.lower() not in _UNLISTED]
        if at.place == "signature":
            self._beside[at.name] = recipe.item_sep.join(names)
        else:
            draft.put(at, recipe.item_sep.join(sorted({*names, at.name.lower()})))

    def _given(self, draft: Draft, stamp: str | None) -> Given:
        given = Given(stamp.encode() if stamp else None, self._facts.event_id.encode())
        listed = signed_content(self._proof, draft.origin).listed
        if listed is None:
            return given
        offer = Offer((), {name: value.encode("latin-1") for name, value in self._beside.items()})
        names, headers = listed.read(draft.message(), [offer]) or (None, None)
        return given._replace(names=names, headers=headers)

    def _written(self, digest: bytes) -> str:
        text = self._form.prefix + self._reader.written(digest).decode("ascii")
        if self._form.kv_sep is None:
            return text
        items = {**self._beside, _key(self._form): text}
        joint = self._form.item_sep or ""
        return joint.join(f"{key}{self._form.kv_sep}{value}" for key, value in items.items())


def _key(form: Signature) -> str:
    return "key" if form.key in (None, "*") else str(form.key)


def _show(proof: SharedSecret, secret: Secret, draft: Draft) -> None:
    """Write the secret itself."""
    at, text = selector.parse(proof.at), SharedSecretVerifier(proof).shows(secret)
    if proof.each is None:
        draft.put(at, text)
    else:
        draft.put_each(proof.each, at.name, text)


def written_moment(timestamp: float, unit: str) -> str:
    """Return an instant as text of a unit."""
    if unit == "rfc3339":
        moment = datetime_of(timestamp)
        if moment is None:
            raise SettingsError(f"{timestamp} is outside of the years 1 to 9999", hint="give another time")
        return rfc3339(moment)
    return str(int(timestamp * (1000 if unit == "ms" else 1)))


def _named(texts: list[str], value: str) -> dict[str, str]:
    """Return the header that carries a value by itself, if the recipe reads the value from one."""
    for text in texts:
        found = template.lone_selector(text)
        if found is not None and found.place == "header":
            return {found.name: value}
    return {}


def _without_action(recipe: Recipe, body: bytes, event_type: str) -> str:
    for text in recipe.event.action:
        found = template.lone_selector(text)
        if found is not None and found.place == "body":
            action = selector.text_of(selector.find(_document(body), selector.path_of(found.name)))
            return event_type.removesuffix(f".{action}") if action else event_type
    return event_type


def _document(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
