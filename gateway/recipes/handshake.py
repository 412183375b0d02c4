"""Handshakes: how a provider asks whether an address is ours, and what it wants to hear, as data.

    [[sources.acme.recipe.handshake]]
    name = "url verification"
    when = { "body:type" = "url_verification" }
    answer = { content_type = "text/plain", body = "{body:challenge}" }

A handshake makes no event. `when` says which requests are one; texts of the answer are templates whose
holes are `header:`, `query:`, `body:` and `form:` selectors or one of the words

    digest         what `digest` computes with the source's first active secret
    verify_token   the first of the source's `verify_tokens`
    endpoint       the public URL of the source, without a query
    rate           requests a minute that a CloudEvents sender may send: what it asked for, within our limit
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.recipes import selector
from tidemill.kernel.errors import SettingsError

WORDS: Final = ("digest", "verify_token", "endpoint", "rate")
_PLACES: Final = ("header:", "query:", "body:", "form:")
_BODY_PLACES: Final = ("body:", "form:")
_HOLE: Final = re.compile(r"\{([a-z_]+(?::[^{}\s]+)?)\}")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RESERVED: Final = frozenset(
    {"content-length", "content-type", "transfer-encoding", "connection", "set-cookie", "date", "upgrade"}
)
_MAX_TEXT: Final = 2000

Method = Literal["GET", "HEAD", "OPTIONS", "POST"]
Part = str | selector.Selector


def parse_text(text: str) -> tuple[Part, ...]:
    """Split a text of an answer into literals, selectors and words (selectors without a name).

    Braces that hold neither are literal, so that a text may be JSON.

    Raises:
        SettingsError: a hole holds a selector that can't stand here.
    """
    pieces = _HOLE.split(text)
    parts = [_hole(piece) if index % 2 else piece for index, piece in enumerate(pieces)]
    return tuple(part for part in parts if part != "")


def _hole(text: str) -> Part:
    if text in WORDS:
        return selector.Selector(text)
    if ":" not in text:
        raise SettingsError(f"{{{text}}} is no variable", hint=f"use one of {', '.join(WORDS)}")
    found = selector.parse(text)
    if found.kind not in _PLACES:
        raise SettingsError(f"{text!r} can't stand here", hint=f"use one of {', '.join(_PLACES)}")
    return found


def _checked(text: str) -> str:
    try:
        parse_text(text)
    except SettingsError as error:
        raise ValueError(f"{error.sentence}: {error.hint}") from error
    return text


def _checked_selector(text: str) -> str:
    found = _hole_or_error(text)
    if not isinstance(found, selector.Selector) or not found.name:
        raise ValueError(f"{text!r} is no selector")
    return text


def _hole_or_error(text: str) -> Part:
    try:
        return _hole(text)
    except SettingsError as error:
        raise ValueError(f"{error.sentence}: {error.hint}") from error


def _checked_tree(tree: Any) -> Any:
    """Check every text in a JSON value; an answer is small and flat."""
    if isinstance(tree, str):
        return _checked(tree)
    if isinstance(tree, dict):
        return {_checked(str(key)): _checked_tree(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_checked_tree(value) for value in tree]
    return tree


def _checked_header(name: str) -> str:
    if not _HEADER.fullmatch(name) or name.lower() in _RESERVED:
        raise ValueError(f"{name!r} can't be a header of an answer")
    return name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Template = Annotated[str, Field(max_length=_MAX_TEXT), AfterValidator(_checked)]
_Selector = Annotated[str, AfterValidator(_checked_selector)]
_HeaderName = Annotated[str, AfterValidator(_checked_header)]
ContentType = Annotated[
    str, Field(pattern=r"^(text/(plain|xml)|application/(json|xml|[a-z0-9.+-]*\+xml))(; ?charset=utf-8)?$")
]


class Digest(_Part):
    """A value that only somebody with the secret can compute from the challenge."""

    scheme: Literal["hmac", "hash"] = Field(
        default="hmac", description="hash uses no secret but {verify_token}"
    )
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    key_hash: Literal["sha1", "sha256"] | None = Field(
        default=None, description="the HMAC's key is this hash of the secret, instead of the secret itself"
    )
    of: _Template = Field(description="what is signed: {query:crc_token}")
    encoding: Literal["hex", "base64"] = "hex"


class Visit(_Part):
    """An address of the provider's that is fetched to confirm; only on hosts that the recipe names."""

    url: _Selector = Field(description="where the address stands: body:SubscribeURL")
    hosts: list[Annotated[str, Field(pattern=r"^[a-z0-9*.-]+$", max_length=253)]] = Field(
        min_length=1,
        max_length=8,
        description="host names that may be asked, over HTTPS alone; a * stands for one label: "
        "sns.*.amazonaws.com",
    )


class HandshakeAnswer(_Part):
    """What the provider wants to hear."""

    status: int = Field(default=200, ge=200, le=299)
    content_type: ContentType | None = Field(
        default=None, description="text/plain for a text, application/json for everything else, unless given"
    )
    headers: dict[_HeaderName, _Template] = Field(
        default={}, max_length=8, description="one whose text has a hole that finds nothing is left out"
    )
    body: Annotated[Any, AfterValidator(_checked_tree)] = Field(
        default="", description="a text, or a JSON value whose texts are templates"
    )


class Handshake(_Part):
    """One kind of request that is answered and makes no event."""

    name: str = Field(min_length=1, max_length=60, description="shown in the log and counted")
    method: Method = "POST"
    when: dict[_Selector, bool | int | str] = Field(
        default={},
        max_length=8,
        description="by selector: true where it finds something, false where it finds nothing, else what "
        "it has to find; all must hold",
    )
    empty: bool = Field(default=False, description="only where the body is empty")
    signed: bool = Field(
        default=False, description="answered only when the request is verified; else before verification"
    )
    token: _Selector | None = Field(
        default=None,
        description="where the sender shows one of the source's verify_tokens; without it it is refused",
    )
    digest: Digest | None = None
    learn: _Selector | None = Field(
        default=None,
        description="trust on first use: where the secret stands that this source is signed with from now "
        "on; a later one is refused until an operator forgets the first",
    )
    visit: Visit | None = None
    answer: HandshakeAnswer = HandshakeAnswer()

    @model_validator(mode="after")
    def _is_distinct(self) -> Self:
        if self.method == "POST" and not (self.when or self.empty):
            raise ValueError("a POST without `when` or `empty` would be every delivery")
        if self.method != "POST" and (self.signed or self.learn or self.empty):
            raise ValueError("only a POST has a body that is signed, empty or brings a secret")
        if self.learn and self.signed:
            raise ValueError("a request that brings the secret can't be signed with it yet")
        return self

    @property
    def reads_body(self) -> bool:
        """Whether something of the body is looked at."""
        texts = [*self.when, self.token or "", self.learn or "", self.visit.url if self.visit else ""]
        return any(text.startswith(_BODY_PLACES) for text in texts)


class StaticAnswer(_Part):
    """A fixed answer that a provider wants instead of the usual one."""

    status: int = Field(ge=200, le=499)
    content_type: ContentType | None = None
    body: str = Field(default="", max_length=_MAX_TEXT)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if 300 <= self.status < 400:  # noqa: PLR2004 - a sender of webhooks follows no redirection
            raise ValueError("a redirection is no answer to a webhook")
        if self.body and self.status in (204, 205):
            raise ValueError(f"an answer with status {self.status} has no body")
        return self


class Acknowledgement(StaticAnswer):
    """What every delivery that was taken is answered with."""

    status: int = Field(default=200, ge=200, le=299)


class Refusal(StaticAnswer):
    """What a request is answered with whose signature doesn't verify."""

    status: int = Field(default=401, ge=400, le=499)


def listed(value: object) -> object:
    """Return a list of one where a single table stands for it."""
    return value if isinstance(value, list | tuple) else [value]


Handshakes = Annotated[
    list[Handshake],
    Field(max_length=8),
    BeforeValidator(listed, json_schema_input_type=list[Handshake] | Handshake),
]
