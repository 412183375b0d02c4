"""Proofs: the ways in which a request can prove who sent it, one model a scheme.

`scheme` says which; without it a proof is an HMAC. A signature's scheme says how it is computed, the
keys that all of them share say where it stands and what it covers.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from gateway.recipes import selector, template
from gateway.recipes.parts import Part, Seconds, Text, Unit, checked_selector, checked_template, listed
from gateway.recipes.published import PublishedKeys

CARRIERS: Final = ("header:", "query:", "body:", "form:")
_HASHABLE: Final = (*(part for part in selector.PARTS if part not in ("form", "text")), *CARRIERS)
_SIGNABLE: Final = tuple(part for part in _HASHABLE if part != "secret")
_COVER: Final = frozenset({"body", "sha256_hex_body"})
Encoding = Literal["hex", "base64", "base64url", "hex_in_base64"]
_Carrier = Annotated[str, AfterValidator(checked_selector(*CARRIERS))]


class SecretForm(Part):
    """How the configured text of a secret becomes the key."""

    encoding: Literal["utf8", "hex", "base64"] = Field(
        default="utf8", description="utf8 takes the text as it is; base64 takes both alphabets, padded or not"
    )
    strip_prefix: str = Field(default="", description="removed before decoding where it is there: whsec_")
    digest: Literal["sha1", "sha256", "sha512"] | None = Field(
        default=None, description="the key is this hash of the decoded text, as raw bytes"
    )


class PublicKeyForm(Part):
    """How the configured text becomes a public key. PEM (key or certificate) is always read.

    A private key in PEM is read too: its public key verifies, and it can sign, which is for development.
    """

    encoding: Literal["hex", "base64"] = Field(
        default="base64", description="of a key that isn't PEM: the raw key, or its SubjectPublicKeyInfo"
    )
    strip_prefix: str = Field(default="", description="removed before decoding where it is there: whpk_")


class Signature(Part):
    """Where signatures stand and how they are written. Any one that matches is enough."""

    at: _Carrier = Field(
        description="header:NAME, query:NAME, body:PATH or form:NAME; a header's NAME that ends in * stands "
        "for all that begin like it",
        examples=["header:X-Hub-Signature-256"],
    )
    prefix: str = Field(default="", description="stands before the signature: sha256=")
    item_sep: str | None = Field(default=None, min_length=1, description="between items: ',' in 't=1,v1=…'")
    kv_sep: str | None = Field(default=None, min_length=1, description="between an item's key and value: '='")
    key: Text | None = Field(
        default=None, description="key of the items that are signatures: v1; others don't count; * is any key"
    )
    encoding: Encoding = Field(default="hex", description="hex_in_base64 is base64 of the text in hex")
    case_insensitive: bool = Field(default=False, description="hex in upper case is the same")
    unpadded: bool = Field(default=False, description="base64 may come without its padding")

    @model_validator(mode="after")
    def _keys_need_separators(self) -> Self:
        if (self.kv_sep is None) != (self.key is None):
            raise ValueError("kv_sep and key belong together: set both or neither")
        return self


class SignedTimestamp(Part):
    """When the sender signed, which bounds replays. It must be a part of what is signed."""

    at: Annotated[str, AfterValidator(checked_selector(*CARRIERS, "signature:"))] = Field(
        description="header:NAME, query:NAME, body:PATH, form:NAME, or signature:KEY for an item beside the "
        "signature"
    )
    unit: Unit = "s"
    tolerance_past: Seconds | None = Field(
        default=300.0, description="seconds that it may be old; null where the provider sets no bound"
    )
    tolerance_future: Seconds | None = Field(
        default=300.0, description="seconds that it may be ahead; null where the provider sets no bound"
    )


class SignedHeaders(Part):
    """Headers that the request itself lists as signed: {signed_headers} and {signed_header_names}."""

    at: Annotated[str, AfterValidator(checked_selector("header:", "signature:"))] = Field(
        description="header:NAME or signature:KEY, whose value lists the names"
    )
    item_sep: Text = Field(default=",", description="between the names")
    form: Literal["values", "pairs"] = Field(
        default="values", description="values in the listed order, or name:value sorted by name"
    )
    join: Text = Field(default=".", description="between the values or pairs")


class SignedProof(Part):
    """What every scheme with a signature shares: where the signature stands and what it covers."""

    signature: Annotated[
        list[Signature],
        Field(min_length=1, max_length=4),
        BeforeValidator(listed, json_schema_input_type=list[Signature] | Signature),
    ]
    timestamp: SignedTimestamp | None = None
    id: _Carrier | None = Field(
        default=None,
        description="header:NAME, query:NAME, body:PATH or form:NAME of a delivery id that is signed too",
    )
    signed: Annotated[str, AfterValidator(checked_template(*_SIGNABLE))] = Field(
        default="{body}",
        description="what is signed; a variable that is missing refuses the request",
    )
    signed_headers: SignedHeaders | None = None
    body_hash: _Carrier | None = Field(
        default=None,
        description="header:NAME or query:NAME of the body's SHA-256 in hex, which is signed in the body's "
        "place; a request without it isn't signed in this way",
    )
    body_unsigned: bool = Field(
        default=False,
        description="the provider doesn't sign the body: a captured signature fits any other body",
    )
    require: dict[Annotated[str, AfterValidator(checked_selector(*CARRIERS))], str] = Field(
        default={}, description="what must stand somewhere, like the version of the signature's format"
    )

    @model_validator(mode="after")
    def _signs_what_it_relies_on(self) -> Self:
        holes = {str(hole) for hole in template.selectors(template.parse(self.signed))}
        covered = bool(holes & _COVER) or _covers_form(holes, self.signature) or self._covers_hash(holes)
        if covered == self.body_unsigned:
            raise ValueError("signed must contain {body}, or anybody could change it; or say body_unsigned")
        self._check_timestamp(holes, covered=covered)
        if (self.id is not None) != ("id" in holes) and not (covered and _in_body(self.id)):
            raise ValueError("id and the {id} in signed belong together: unsigned, it stops no replay")
        named = {"signed_headers", "signed_header_names"} & holes
        if (self.signed_headers is not None) != bool(named):
            raise ValueError("signed_headers and the {signed_headers} in signed belong together")
        self._check_signature(holes)
        return self

    def _covers_hash(self, holes: set[str]) -> bool:
        if self.body_hash is None:
            return False
        if self.body_hash in holes or (self.body_hash.startswith("query:") and holes & {"url", "path_query"}):
            return True
        raise ValueError("body_hash must be a part of what is signed")

    def _check_timestamp(self, holes: set[str], *, covered: bool) -> None:
        at = self.timestamp.at if self.timestamp else None
        listed_there = self.signed_headers is not None and at is not None and at.startswith("header:")
        if (at is not None) != ("timestamp" in holes) and not (covered and _in_body(at)) and not listed_there:
            raise ValueError(
                "timestamp and the {timestamp} in signed belong together: an unsigned one proves nothing"
            )
        beside = at is not None and at.startswith("signature:")
        if beside and any(one.item_sep is None or one.kv_sep is None for one in self.signature):
            raise ValueError("a timestamp at signature:KEY needs item_sep, kv_sep and key in signature")

    def _check_signature(self, holes: set[str]) -> None:
        inside = any(_in_body(one.at) for one in self.signature)
        if inside and holes & (_COVER | {"sorted_form"}):
            raise ValueError("a signature inside the body can't cover the whole body")


def _in_body(at: str | None) -> bool:
    return at is not None and at.startswith(("body:", "form:"))


def _covers_form(holes: set[str], signatures: list[Signature]) -> bool:
    """Say whether a form's content is covered: all of its fields, or one beside the signature."""
    if "sorted_form" in holes:
        return True
    return all(one.at.startswith("form:") for one in signatures) and any(
        hole.startswith("form:") for hole in holes
    )


class Hmac(SignedProof):
    """A signature with a secret that both sides have (RFC 2104)."""

    scheme: Literal["hmac"] = "hmac"
    algorithm: Literal["sha1", "sha256", "sha384", "sha512", "md5"] = "sha256"
    secret: SecretForm = SecretForm()


class PlainHash(SignedProof):
    """A hash over a text that holds the secret: {secret} in signed says where."""

    scheme: Literal["hash"]
    algorithm: Literal["sha1", "sha256", "sha384", "sha512", "md5"] = "sha256"
    secret: SecretForm = SecretForm()
    signed: Annotated[str, AfterValidator(checked_template(*_HASHABLE))] = "{secret}{body}"

    @model_validator(mode="after")
    def _holds_the_secret(self) -> Self:
        if "{secret}" not in self.signed:
            raise ValueError("signed must contain {secret}, or anybody could compute the hash")
        return self


class PublicKeyProof(SignedProof):
    """What the schemes with a public key share."""

    secret: PublicKeyForm = PublicKeyForm()
    keys: PublishedKeys | None = Field(
        default=None, description="where the public key is fetched, for a source without one of its own"
    )


class Ed25519(PublicKeyProof):
    """A signature that the provider's Ed25519 public key verifies (RFC 8032)."""

    scheme: Literal["ed25519"]


class EcdsaP256(PublicKeyProof):
    """A signature that the provider's P-256 public key verifies (FIPS 186-5)."""

    scheme: Literal["ecdsa_p256"]
    algorithm: Literal["sha1", "sha256"] = "sha256"
    form: Literal["der", "raw"] = Field(
        default="der", description="der is ASN.1; raw is r and s, 32 bytes each (IEEE P1363)"
    )


class Rsa(PublicKeyProof):
    """A signature that the provider's RSA public key verifies (RFC 8017)."""

    scheme: Literal["rsa"]
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    padding: Literal["pkcs1v15", "pss"] = "pkcs1v15"


class SharedSecret(Part):
    """No signature: the request carries the secret itself. It proves the sender and covers nothing."""

    scheme: Literal["shared_secret"]
    at: _Carrier = Field(
        default="header:Authorization", description="header:NAME, query:NAME, body:PATH or form:NAME"
    )
    presented: Literal["plain", "bearer", "basic"] = Field(
        default="plain",
        description="plain: the secret after `prefix`; bearer: after `Bearer`; basic: `user:password` in "
        "base64 after `Basic`, and the configured secret is user:password",
    )
    prefix: str = Field(default="", description="stands before the secret")
    each: str | None = Field(
        default=None,
        pattern=r"^[^{}\s]+$",
        description="path of an array in the body: `at` is a body:PATH in each of its items, and all must "
        "carry the secret",
    )

    @model_validator(mode="after")
    def _items_are_in_the_body(self) -> Self:
        if self.each is not None and not self.at.startswith("body:"):
            raise ValueError("with each, at must be a body:PATH within an item")
        return self


class Jwt(Part):
    """A signed JSON Web Token, some of whose claims are hashes of the request (RFC 7519)."""

    scheme: Literal["jwt"]
    at: _Carrier = Field(
        default="header:Authorization", description="header:NAME, query:NAME, body:PATH or form:NAME"
    )
    presented: Literal["plain", "bearer"] = "bearer"
    algorithms: list[Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256"]] = Field(
        min_length=1,
        max_length=3,
        description="of one kind: a secret for HS; for RS and ES a public key in PEM, or a key set in JSON",
    )
    secret: SecretForm = Field(default=SecretForm(), description="for HS")
    keys: PublishedKeys | None = Field(
        default=None, description="where the public keys are fetched, for a source without keys of its own"
    )
    issuer: str | None = Field(default=None, description="what `iss` must be")
    audience: str | None = Field(
        default=None,
        description="what must be in `aud`; {endpoint} is the public URL of the source, without a query",
    )
    claims: dict[Text, bool | str] = Field(default={}, description="what other claims must be")
    token_claim: Text | None = Field(
        default=None, description="claim that must be one of the source's verify tokens"
    )
    require: list[Literal["iat", "nbf", "exp"]] = Field(
        default=[], description="times that must be there; those that are there always count"
    )
    max_age: Seconds | None = Field(default=None, description="seconds since `iat`, which must be there then")
    tolerance: Seconds = Field(default=60.0, description="seconds by which clocks may differ")
    body_claim: Text | None = Field(default=None, description="claim with the body's SHA-256 in hex")
    url_claim: Text | None = Field(default=None, description="claim with the URL's SHA-256 in hex")
    id_claim: Text | None = Field(default=None, description="claim with the delivery's id")

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if len({name[:2] for name in self.algorithms}) > 1:
            raise ValueError("algorithms of several kinds would let a public key pass for a secret")
        if self.max_age is not None and "iat" not in self.require:
            raise ValueError("max_age needs iat in require")
        if self.keys is not None and self.algorithms[0].startswith("HS"):
            raise ValueError("a shared secret is never published: keys are for RS and ES")
        return self


class Vendor(Part):
    """A verifier of one vendor's, for what no recipe can say."""

    scheme: Literal["vendor"]
    name: Literal["adyen", "ebay", "exact-online", "neon", "paypal", "sns"]


SCHEMES: Final = ("hmac", "hash", "shared_secret", "ed25519", "ecdsa_p256", "rsa", "jwt", "vendor")


def _scheme(value: Any) -> str:
    found = value.get("scheme", "hmac") if isinstance(value, dict) else getattr(value, "scheme", "hmac")
    return found if isinstance(found, str) else str(found)


Proof = Annotated[
    Annotated[Hmac, Tag("hmac")]
    | Annotated[PlainHash, Tag("hash")]
    | Annotated[SharedSecret, Tag("shared_secret")]
    | Annotated[Ed25519, Tag("ed25519")]
    | Annotated[EcdsaP256, Tag("ecdsa_p256")]
    | Annotated[Rsa, Tag("rsa")]
    | Annotated[Jwt, Tag("jwt")]
    | Annotated[Vendor, Tag("vendor")],
    Discriminator(
        _scheme,
        custom_error_type="scheme",
        custom_error_message=f"there is no such scheme: use one of {', '.join(SCHEMES)}",
    ),
]
