"""Recipes: how a provider signs and names its webhooks, as data.

A preset is a recipe in `schemas/recipes/<name>.json`; a source of one's own writes the same keys in the
settings, where one table may stand for a list of one. The least that verifies anything is

    [sources.acme.recipe.verify]
    signature = { at = "header:X-Acme-Signature" }

which is HMAC-SHA256 over the raw body, in hex. The language is documented by `schemas/recipe.schema.json`,
which is made from these models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from gateway.recipes import selector, template
from gateway.recipes.handshake import Acknowledgement, Handshakes, Refusal
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_BODY_LIMIT: Final = 1024 * 1024
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_VERIFIABLE: Final = ("header:", "query:")
_SIGNABLE: Final = (*(part for part in selector.PARTS if part not in ("form", "text")), "header:", "query:")
_NAMEABLE: Final = ("header:", "query:", "body:", "item:", "form:", "timestamp", "id")


def _checked_selector(*places: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        try:
            found = selector.parse(text)
        except SettingsError as error:
            raise ValueError(f"{error.sentence}: {error.hint}") from error
        return text if found.kind in places else _wrong_place(found, places)

    return check


def _checked_template(*places: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        try:
            holes = template.selectors(template.parse(text))
        except SettingsError as error:
            raise ValueError(f"{error.sentence}: {error.hint}") from error
        wrong = [hole for hole in holes if hole.kind not in places]
        return _wrong_place(wrong[0], places) if wrong else text

    return check


def _wrong_place(found: selector.Selector, places: tuple[str, ...]) -> str:
    raise ValueError(f"{str(found)!r} can't stand here: use one of {', '.join(places)}")


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Text = Annotated[str, Field(min_length=1, max_length=200)]
_Seconds = Annotated[float, Field(ge=0, le=7 * 86400, allow_inf_nan=False)]
_Naming = Annotated[str, Field(min_length=1), AfterValidator(_checked_template(*_NAMEABLE))]
_Namings = Annotated[
    list[_Naming],
    Field(max_length=32),
    BeforeValidator(_listed, json_schema_input_type=list[_Naming] | _Naming),
]
_Unit = Literal["s", "ms", "rfc3339"]
Level = Literal["oracle", "vector", "source", "specification", "documentation", "catalogue", "memory"]


class SecretForm(_Part):
    """How the configured text of a secret becomes the key."""

    encoding: Literal["utf8", "hex", "base64"] = Field(
        default="utf8", description="utf8 takes the text as it is; base64 takes both alphabets, padded or not"
    )
    strip_prefix: str = Field(default="", description="removed before decoding where it is there: whsec_")


class Signature(_Part):
    """Where signatures stand and how they are written. Any one that matches is enough."""

    at: Annotated[str, AfterValidator(_checked_selector(*_VERIFIABLE))] = Field(
        description="header:NAME or query:NAME", examples=["header:X-Hub-Signature-256"]
    )
    prefix: str = Field(default="", description="stands before the signature: sha256=")
    item_sep: str | None = Field(default=None, min_length=1, description="between items: ',' in 't=1,v1=…'")
    kv_sep: str | None = Field(default=None, min_length=1, description="between an item's key and value: '='")
    key: _Text | None = Field(
        default=None, description="key of the items that are signatures: v1; others don't count"
    )
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    case_insensitive: bool = Field(default=False, description="hex in upper case is the same")
    unpadded: bool = Field(default=False, description="base64 may come without its padding")

    @model_validator(mode="after")
    def _keys_need_separators(self) -> Self:
        if (self.kv_sep is None) != (self.key is None):
            raise ValueError("kv_sep and key belong together: set both or neither")
        return self


class SignedTimestamp(_Part):
    """When the sender signed, which bounds replays. It must be a part of what is signed."""

    at: Annotated[str, AfterValidator(_checked_selector(*_VERIFIABLE, "signature:"))] = Field(
        description="header:NAME, query:NAME, or signature:KEY for an item beside the signature"
    )
    unit: _Unit = "s"
    tolerance_past: _Seconds = Field(default=300.0, description="seconds that it may be old")
    tolerance_future: _Seconds = Field(default=300.0, description="seconds that it may be ahead")


class Hmac(_Part):
    """A signature with a secret that both sides have (RFC 2104)."""

    scheme: Literal["hmac"] = "hmac"
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    secret: SecretForm = SecretForm()
    signature: Annotated[
        list[Signature],
        Field(min_length=1, max_length=4),
        BeforeValidator(_listed, json_schema_input_type=list[Signature] | Signature),
    ]
    timestamp: SignedTimestamp | None = None
    id: Annotated[str, AfterValidator(_checked_selector(*_VERIFIABLE))] | None = Field(
        default=None,
        description="header:NAME or query:NAME of a delivery id that is signed too",
    )
    signed: Annotated[str, AfterValidator(_checked_template(*_SIGNABLE))] = Field(
        default="{body}",
        description="what is signed; a variable that is missing refuses the request",
    )

    @model_validator(mode="after")
    def _signs_what_it_relies_on(self) -> Self:
        holes = {str(hole) for hole in template.selectors(template.parse(self.signed))}
        if "body" not in holes:
            raise ValueError("signed must contain {body}, or anybody could change it")
        if (self.timestamp is not None) != ("timestamp" in holes):
            raise ValueError(
                "timestamp and the {timestamp} in signed belong together: an unsigned one proves nothing"
            )
        if (self.id is not None) != ("id" in holes):
            raise ValueError("id and the {id} in signed belong together: unsigned, it stops no replay")
        beside = self.timestamp is not None and self.timestamp.at.startswith("signature:")
        if beside and any(one.item_sep is None or one.kv_sep is None for one in self.signature):
            raise ValueError("a timestamp at signature:KEY needs item_sep, kv_sep and key in signature")
        return self


class Moment(_Part):
    """Where an event's time stands and how it is written."""

    at: Annotated[str, AfterValidator(_checked_selector(*_NAMEABLE))]
    unit: _Unit = "rfc3339"


_Moments = Annotated[
    list[Moment], Field(max_length=32), BeforeValidator(_listed, json_schema_input_type=list[Moment] | Moment)
]


class Naming(_Part):
    """What one type of event names in its own way."""

    subject: _Namings | None = None
    time: _Moments | None = None


class EventNames(_Part):
    """Where an event's attributes come from: of each list, the first that is complete."""

    type: _Namings = Field(default=[], description="the provider's type; without any, `received`")
    action: _Namings = Field(default=[], description="appended to the type where it is there")
    id: _Namings = Field(
        default=[], description="the provider's delivery id; without, a hash of body and signed time"
    )
    time: _Moments = Field(default=[], description="without, the time of arrival")
    subject: _Namings = []
    by_type: dict[str, Naming] = Field(
        default={}, description="subject and time of single types, with action or without"
    )
    data: Annotated[
        list[Annotated[str, AfterValidator(_checked_selector("body", "body:", "form", "form:", "text"))]],
        Field(min_length=1, max_length=4),
        BeforeValidator(_listed, json_schema_input_type=list[str] | str),
    ] = Field(
        default=["body"],
        description="`body` is the JSON body, `body:PATH` a value in it; `form:NAME` lets form-encoded "
        "bodies in, whose field NAME holds the JSON; `form` lets all forms in, whose fields are the data; "
        "`text` lets any other text in, which is the data",
    )
    split: Annotated[
        list[Annotated[str, AfterValidator(_checked_selector("body", "body:"))]],
        Field(max_length=4),
        BeforeValidator(_listed, json_schema_input_type=list[str] | str),
    ] = Field(
        default=[],
        description="where a batch's array stands: `body` or `body:PATH`; each item becomes an event, in "
        "which `item:PATH` selects. Without an array there, the delivery is one event and its item",
    )


class Provider(_Part):
    """What a provider says about its webhooks."""

    title: str = ""
    docs: str = Field(default="", description="address of the provider's page about them")
    body_limit: int | None = Field(default=None, ge=1, description="the most bytes that it sends")
    acknowledge_within: _Seconds | None = Field(
        default=None, description="seconds that it waits for an answer"
    )
    retries: str = Field(default="", description="what it does after a failure")


class Sender(_Part):
    """How the provider's requests look beside what is verified, for sending samples."""

    headers: dict[str, str] = Field(default={}, description="sent as they are: User-Agent and the like")
    id_prefix: str = Field(default="", description="of its ids, before 24 hex digits; empty: a UUID")
    indented: bool = Field(default=False, description="its JSON is indented by two spaces")


class Evidence(_Part):
    """What a fact of the recipe rests on."""

    level: Level = Field(
        description="oracle: the provider's own library agrees in our tests; vector: a published example is "
        "a test; source, specification, documentation: it was read there; catalogue: somebody else's list "
        "says so; memory: unverified"
    )
    source: str = Field(min_length=1)


class Recipe(_Part):
    """A provider's way with webhooks."""

    name: str = Field(pattern=_NAME)
    provider: Provider = Provider()
    verify: Annotated[
        list[Hmac], Field(max_length=4), BeforeValidator(_listed, json_schema_input_type=list[Hmac] | Hmac)
    ] = Field(default=[], description="alternatives: the first whose signature the request carries decides")
    event: EventNames = EventNames()
    handshake: Handshakes = Field(default=[], description="requests that are answered and make no event")
    answer: Acknowledgement | None = Field(
        default=None, description="what deliveries are answered with; without, 202 and the event's id"
    )
    refusal: Refusal | None = Field(
        default=None, description="what requests that don't verify are answered with; without, a 401 problem"
    )
    reads: dict[str, Literal["json", "form", "text"]] = Field(
        default={}, description="how bodies of a media type are read, where that isn't the usual way"
    )
    signs_decoded: bool = Field(
        default=False, description="signatures cover a compressed body as it was before compression"
    )
    sender: Sender = Sender()
    evidence: list[Evidence] = []

    @property
    def body_limit(self) -> int:
        """The most bytes that a body may have, unless the source says otherwise."""
        return self.provider.body_limit or DEFAULT_BODY_LIMIT


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe's file, which stands in `schemas/recipe.schema.json`."""
    schema = Recipe.model_json_schema()
    schema["properties"]["$schema"] = {"type": "string"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "tidemill:recipe", **schema}


def parse_recipe(raw: Mapping[str, Any], *, name: str = "", where: str = "recipe") -> Recipe:
    """Read a recipe from plain data.

    Args:
        raw: its keys.
        name: the recipe's name where `raw` has none, as in the settings.
        where: what to call it in an error, e.g. `sources.acme.recipe`.

    Raises:
        SettingsError: a key is unknown, missing or has a wrong value; the sentence names each.
    """
    try:
        return Recipe.model_validate({"name": name, **raw} if name else dict(raw))
    except ValidationError as error:
        problems = [
            _problem(where, problem["loc"], problem["msg"], problem["type"]) for problem in error.errors()
        ]
        raise SettingsError(
            "; ".join(problems), hint="schemas/recipe.schema.json describes every key"
        ) from error


def _problem(where: str, location: tuple[int | str, ...], message: str, kind: str) -> str:
    key = where + selector.json_path(location).removeprefix("$")
    if kind == "extra_forbidden":
        return f"{key}: there is no such key"
    return f"{key}: {message.removeprefix('Value error, ')}"
