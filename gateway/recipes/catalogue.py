"""What a recipe says, in words: for tables, set-up help and the documentation's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.recipes.proofs import (
    EcdsaP256,
    Ed25519,
    Hmac,
    Jwt,
    PlainHash,
    Rsa,
    SharedSecret,
    SignedProof,
    Vendor,
)

if TYPE_CHECKING:
    from gateway.recipes.handshake import Handshake
    from gateway.recipes.proofs import Proof, SignedTimestamp
    from gateway.recipes.recipe import Recipe

LEVELS: Final = {
    "oracle": "the provider's own library, or one that it sends by, agrees with the engine in the tests",
    "vector": "a published example of a signed request is a test",
    "source": "read in the source of a library",
    "specification": "read in a specification",
    "documentation": "read in the provider's documentation",
    "catalogue": "read in other people's catalogues alone",
    "memory": "from general knowledge alone: confirm it before relying on it",
}
_VENDORS: Final = {
    "adyen": ("HMAC-SHA256 per item", "an HMAC in every item, over some of its fields"),
    "sns": ("RSA over fields", "an RSA signature in the message, over its fields; and the topic's ARN"),
}
_PRESENTED: Final = {"plain": "shared secret", "bearer": "bearer token", "basic": "basic authentication"}
_PADDINGS: Final = {"pkcs1v15": "PKCS #1 v1.5", "pss": "PSS"}
_PLACES: Final = {
    "header": "the header",
    "query": "the URL's parameter",
    "body": "the body's",
    "form": "the form's field",
    "signature": "beside the signature, as",
}


def row(recipe: Recipe) -> dict[str, Any]:
    """Return a preset as a row of a table."""
    return {
        "name": recipe.name,
        "title": recipe.provider.title,
        "scheme": scheme(recipe),
        "covers": "the body" if covers_body(recipe) else "not the body",
        "handshake": ", ".join(handshake.name for handshake in recipe.handshake) or None,
        "acknowledge_within": recipe.provider.acknowledge_within,
        "retries": recipe.provider.retries or None,
        "verification": level(recipe),
        "docs": recipe.provider.docs,
    }


def level(recipe: Recipe) -> str:
    """Return the firmest thing that a recipe rests on."""
    known = {one.level for one in recipe.evidence}
    return next((name for name in LEVELS if name in known), "memory")


def scheme(recipe: Recipe) -> str:
    """Return how a recipe's requests prove who sent them, in a few words."""
    names = [scheme_name(proof) for proof in recipe.verify]
    return " or ".join(dict.fromkeys(names)) or "none"


def scheme_name(proof: Proof) -> str:
    """Return the name of a proof's scheme."""
    match proof:
        case Hmac():
            name = f"HMAC-{proof.algorithm.upper()}"
        case PlainHash():
            name = f"{proof.algorithm.upper()} with the secret"
        case SharedSecret():
            name = _PRESENTED[proof.presented]
        case Ed25519():
            name = "Ed25519"
        case EcdsaP256():
            name = f"ECDSA P-256 with {proof.algorithm.upper()}"
        case Rsa():
            name = f"RSA {_PADDINGS[proof.padding]} with {proof.algorithm.upper()}"
        case Jwt():
            name = f"JWT with {' or '.join(proof.algorithms)}"
        case Vendor():
            name = _VENDORS[proof.name][0]
    return name


def covers_body(recipe: Recipe) -> bool:
    """Say whether every way of proving a request covers its body."""
    return bool(recipe.verify) and all(_covers(proof) for proof in recipe.verify)


def _covers(proof: Proof) -> bool:
    if isinstance(proof, Jwt):
        return proof.body_claim is not None
    return isinstance(proof, SignedProof) and not proof.body_unsigned


def signs_url(recipe: Recipe) -> bool:
    """Say whether the address is signed, so that the public URL has to be configured."""
    return any(
        (isinstance(proof, SignedProof) and "{url}" in proof.signed)
        or (isinstance(proof, Jwt) and proof.url_claim is not None)
        for proof in recipe.verify
    )


def proof_in_words(proof: Proof) -> list[str]:
    """Return what of a request is checked, a sentence each."""
    if isinstance(proof, SharedSecret):
        whole = f"in every item of `{proof.each}`, at `{proof.at}`" if proof.each else place(proof.at)
        return [f"{scheme_name(proof)} in {whole}; nothing is signed"]
    if isinstance(proof, Jwt):
        return _token_in_words(proof)
    if not isinstance(proof, SignedProof):
        return [_VENDORS[proof.name][1]]
    places = " or ".join(place(one.at) for one in proof.signature)
    said = [f"{scheme_name(proof)} in {places}, over `{_shown(proof.signed)}`"]
    if proof.timestamp is not None:
        said.append(f"the time in {place(proof.timestamp.at)}, {_tolerance(proof.timestamp)}")
    if proof.id is not None:
        said.append(f"the delivery's id in {place(proof.id)}")
    return said + [f"{place(at)} must be `{text}`" for at, text in proof.require.items()]


def _token_in_words(proof: Jwt) -> list[str]:
    said = [f"{scheme_name(proof)} in {place(proof.at)}, its times at most {proof.tolerance:g} s off"]
    facts = {"the issuer": proof.issuer, "the audience": proof.audience}
    said += [f"{name} must be `{text}`" for name, text in facts.items() if text]
    claims = {"the body": proof.body_claim, "the address": proof.url_claim}
    return said + [f"the claim `{claim}` must be the hash of {of}" for of, claim in claims.items() if claim]


def place(at: str) -> str:
    """Return where a selector selects from, in words."""
    kind, _, name = at.partition(":")
    return f"{_PLACES[kind]} `{name}`"


def _shown(signed: str) -> str:
    return signed.replace("\n", "\\n")


def _tolerance(stamp: SignedTimestamp) -> str:
    if stamp.tolerance_past is None:
        return "of any age"
    if stamp.tolerance_past == stamp.tolerance_future:
        return f"at most {stamp.tolerance_past:g} s off"
    future = "any" if stamp.tolerance_future is None else f"{stamp.tolerance_future:g} s"
    return f"at most {stamp.tolerance_past:g} s old and {future} ahead"


def settings_of(recipe: Recipe) -> str:
    """Return the settings of a source that uses a preset."""
    lines = ["[gateway]", 'public_url = "https://hooks.example.com"', ""] if signs_url(recipe) else []
    lines += [f"[sources.{recipe.name}]", f'preset = "{recipe.name}"']
    if any(handshake.learn for handshake in recipe.handshake):
        lines.append("learn = true                # take the secret that its first request brings")
    elif recipe.verify:
        lines.append(f'secrets = ["env:{variable(recipe, "SECRET")}"]')
    else:
        lines.append("allow_unsigned = true       # nothing is signed")
    if any(_wants_token(handshake) for handshake in recipe.handshake):
        lines.append(f'verify_tokens = ["env:{variable(recipe, "VERIFY_TOKEN")}"]')
    return "\n".join(lines)


def variable(recipe: Recipe, kind: str) -> str:
    """Return the name of an environment variable for a secret."""
    return f"{recipe.name.upper().replace('-', '_')}_{kind}"


def _wants_token(handshake: Handshake) -> bool:
    digest = handshake.digest.of if handshake.digest else ""
    return handshake.token is not None or "{verify_token}" in f"{digest}{handshake.answer.body}"
