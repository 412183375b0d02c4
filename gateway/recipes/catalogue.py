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
from gateway.recipes.published import needs_address

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
    "ebay": ("ECDSA", "an ECDSA signature of the body, by the key that the header `X-EBAY-SIGNATURE` names"),
    "exact-online": ("HMAC-SHA256 of Content", "an HMAC in `HashCode`, over the text of `Content`"),
    "neon": (
        "Ed25519, detached",
        "a detached signature in `X-Neon-Signature`, over time and body; the time at most 300 s off",
    ),
    "paypal": (
        "RSA over a CRC",
        "an RSA signature over the webhook's id, the transmission's id and time, and the body's CRC-32",
    ),
    "adyen": ("HMAC-SHA256 per item", "an HMAC in every item, over some of its fields"),
    "sns": ("RSA over fields", "an RSA signature in the message, over its fields; and the topic's ARN"),
}
_FETCHED: Final = {
    "ebay": "from eBay's Notification API, with credentials among the secrets",
    "neon": "from the address that the source's `keys` names",
    "paypal": "from where the request says, on a host of PayPal's alone",
    "sns": "from where the message says, on a host of SNS's alone",
}
_INTERFACES: Final = {"circle": "Circle's API", "plaid": "Plaid's API", "wechat-pay": "WeChat Pay's API"}
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


def keys_in_words(proof: Proof) -> str | None:
    """Return where a proof's public keys are fetched, None where they aren't."""
    if isinstance(proof, Vendor):
        return _FETCHED.get(proof.name)
    keys = getattr(proof, "keys", None)
    if keys is None:
        return None
    if keys.api is not None:
        return f"from {_INTERFACES[keys.api]}, with credentials among the secrets"
    where = keys.url or keys.issuer
    return f"from <{where}>" if where else "from the address that the source's `keys` names"


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
        or (isinstance(proof, Jwt) and (proof.url_claim is not None or proof.audience == "{endpoint}"))
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
        return [_VENDORS[proof.name][1], *_fetched_in_words(proof)]
    places = " or ".join(place(one.at) for one in proof.signature)
    said = [f"{scheme_name(proof)} in {places}, over `{_shown(proof.signed)}`"]
    said += _fetched_in_words(proof)
    if proof.timestamp is not None:
        said.append(f"the time in {place(proof.timestamp.at)}, {_tolerance(proof.timestamp)}")
    if proof.id is not None:
        said.append(f"the delivery's id in {place(proof.id)}")
    return said + [f"{place(at)} must be `{text}`" for at, text in proof.require.items()]


def _fetched_in_words(proof: Proof) -> list[str]:
    where = keys_in_words(proof)
    return [f"the keys are fetched {where}, unless the source has secrets that are keys"] if where else []


def _token_in_words(proof: Jwt) -> list[str]:
    said = [f"{scheme_name(proof)} in {place(proof.at)}, its times at most {proof.tolerance:g} s off"]
    said += _fetched_in_words(proof)
    facts = {"the issuer": proof.issuer, "the audience": proof.audience}
    said += [f"{name} must be `{text}`" for name, text in facts.items() if text]
    said += [f"the claim `{name}` must be `{json_text(value)}`" for name, value in proof.claims.items()]
    if proof.token_claim is not None:
        said.append(f"the claim `{proof.token_claim}` must be one of the source's verify tokens")
    claims = {"the body": proof.body_claim, "the address": proof.url_claim}
    return said + [f"the claim `{claim}` must be the hash of {of}" for of, claim in claims.items() if claim]


def json_text(value: bool | str) -> str:  # noqa: FBT001 - a value of a table
    """Return a claim's value as JSON writes it, a text without quotes."""
    return value if isinstance(value, str) else str(value).lower()


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
    elif names_address(recipe):
        lines.append('keys = "https://keys.example.com/.well-known/jwks.json"')
    elif wants_secrets(recipe):
        lines.append(f'secrets = ["env:{variable(recipe, "SECRET")}"]')
    elif not recipe.verify:
        lines.append("allow_unsigned = true       # nothing is signed")
    if wants_verify_tokens(recipe):
        lines.append(f'verify_tokens = ["env:{variable(recipe, "VERIFY_TOKEN")}"]')
    return "\n".join(lines)


def wants_secrets(recipe: Recipe) -> bool:
    """Say whether a source needs secrets: not where all keys are fetched without credentials."""
    return any(not _public(proof) for proof in recipe.verify)


def names_address(recipe: Recipe) -> bool:
    """Say whether a source has to say where the keys are."""
    return bool(recipe.verify) and all(needs_address(proof) for proof in recipe.verify)


def _public(proof: Proof) -> bool:
    if isinstance(proof, Vendor):
        return proof.name in ("neon", "paypal", "sns")
    keys = getattr(proof, "keys", None)
    return keys is not None and keys.api is None


def wants_verify_tokens(recipe: Recipe) -> bool:
    """Say whether a source needs verify tokens, for its handshake or to tell whose requests count."""
    return tells_by_tokens(recipe) or any(_wants_token(handshake) for handshake in recipe.handshake)


def tells_by_tokens(recipe: Recipe) -> bool:
    """Say whether verify tokens tell whose requests count, since the provider signs all alike."""
    return any(
        (isinstance(proof, Jwt) and proof.token_claim is not None)
        or (isinstance(proof, Vendor) and proof.name in ("paypal", "sns"))
        for proof in recipe.verify
    )


def variable(recipe: Recipe, kind: str) -> str:
    """Return the name of an environment variable for a secret."""
    return f"{recipe.name.upper().replace('-', '_')}_{kind}"


def _wants_token(handshake: Handshake) -> bool:
    digest = handshake.digest.of if handshake.digest else ""
    return handshake.token is not None or "{verify_token}" in f"{digest}{handshake.answer.body}"
