"""Recipes: how a provider signs and names its webhooks, as data.

A preset is a recipe in `schemas/recipes/<name>.json`; a source of one's own writes the same keys in the
settings, where one table may stand for a list of one. The least that verifies anything is

    [sources.acme.recipe.verify]
    signature = { at = "header:X-Acme-Signature" }

which is HMAC-SHA256 over the raw body, in hex. The language is documented by `schemas/recipe.schema.json`,
which is made from these models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
)

from gateway.recipes import selector
from gateway.recipes.handshake import Acknowledgement, Handshakes, Refusal
from gateway.recipes.opening import Encrypted
from gateway.recipes.parts import Part, Seconds, Unit, checked_selector, checked_template, listed
from gateway.recipes.proofs import SCHEMES, Proof
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_BODY_LIMIT: Final = 1024 * 1024
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_NAMEABLE: Final = ("header:", "query:", "body:", "item:", "form:", "key:", "timestamp", "id")
_Naming = Annotated[str, Field(min_length=1), AfterValidator(checked_template(*_NAMEABLE))]
_Namings = Annotated[
    list[_Naming],
    Field(max_length=32),
    BeforeValidator(listed, json_schema_input_type=list[_Naming] | _Naming),
]
Level = Literal["oracle", "vector", "source", "specification", "documentation", "catalogue", "memory"]


class Moment(Part):
    """Where an event's time stands and how it is written."""

    at: Annotated[str, AfterValidator(checked_selector(*_NAMEABLE))]
    unit: Unit = "rfc3339"


_Moments = Annotated[
    list[Moment], Field(max_length=32), BeforeValidator(listed, json_schema_input_type=list[Moment] | Moment)
]


class Naming(Part):
    """What one type of event names in its own way."""

    subject: _Namings | None = None
    time: _Moments | None = None


class EventNames(Part):
    """Where an event's attributes come from: of each list, the first that is complete."""

    type: _Namings = Field(default=[], description="the provider's type; without any, `received`")
    action: _Namings = Field(default=[], description="appended to the type where it is there")
    id: _Namings = Field(
        default=[], description="the provider's delivery id; without, a hash of body and signed time"
    )
    time: _Moments = Field(default=[], description="without, the time of arrival")
    subject: _Namings = Field(default=[])
    by_type: dict[str, Naming] = Field(
        default={}, description="subject and time of single types, with action or without"
    )
    data: Annotated[
        list[Annotated[str, AfterValidator(checked_selector("body", "body:", "form", "form:", "text"))]],
        Field(min_length=1, max_length=4),
        BeforeValidator(listed, json_schema_input_type=list[str] | str),
    ] = Field(
        default=["body"],
        description="`body` is the JSON body, `body:PATH` a value in it; `form:NAME` lets form-encoded "
        "bodies in, whose field NAME holds the JSON; `form` lets all forms in, whose fields are the data; "
        "`text` lets any other text in, which is the data",
    )
    split: Annotated[
        list[Annotated[str, AfterValidator(checked_selector("body", "body:"))]],
        Field(max_length=4),
        BeforeValidator(listed, json_schema_input_type=list[str] | str),
    ] = Field(
        default=[],
        description="where a batch's array stands: `body` or `body:PATH`; each item becomes an event, in "
        "which `item:PATH` selects. Without an array there, the delivery is one event and its item",
    )


class Provider(Part):
    """What a provider says about its webhooks."""

    title: str = ""
    docs: str = Field(default="", description="address of the provider's page about them")
    body_limit: int | None = Field(default=None, ge=1, description="the most bytes that it sends")
    acknowledge_within: Seconds | None = Field(
        default=None, description="seconds that it waits for an answer"
    )
    retries: str = Field(default="", description="what it does after a failure")
    secret: str = Field(default="", description="what it calls the secret, or where that comes from")
    notes: list[str] = Field(default=[], description="what else one has to know to use it")


class Sender(Part):
    """How the provider's requests look beside what is verified, for sending samples."""

    headers: dict[str, str] = Field(default={}, description="sent as they are: User-Agent and the like")
    id_prefix: str = Field(default="", description="of its ids, before 24 hex digits; empty: a UUID")
    numeric_ids: bool = Field(default=False, description="its ids are whole numbers")
    indented: bool = Field(default=False, description="its JSON is indented by two spaces")


class Evidence(Part):
    """What a fact of the recipe rests on."""

    level: Level = Field(
        description="oracle: the provider's own library agrees in our tests; vector: a published example is "
        "a test; source, specification, documentation: it was read there; catalogue: somebody else's list "
        "says so; memory: unverified"
    )
    source: str = Field(min_length=1)


class Recipe(Part):
    """A provider's way with webhooks."""

    name: str = Field(pattern=_NAME)
    provider: Provider = Provider()
    verify: Annotated[
        list[Proof], Field(max_length=4), BeforeValidator(listed, json_schema_input_type=list[Proof] | Proof)
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
    encrypted: Encrypted | None = Field(
        default=None, description="what of the body is encrypted; it is opened after verification"
    )
    signs_decoded: bool = Field(
        default=False, description="signatures cover a compressed body as it was before compression"
    )
    sender: Sender = Sender()
    evidence: list[Evidence] = Field(default=[])

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
    key = where + selector.json_path(_without_scheme(location)).removeprefix("$")
    if kind == "extra_forbidden":
        return f"{key}: there is no such key"
    return f"{key}: {message.removeprefix('Value error, ')}"


def _without_scheme(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Leave out the scheme, which pydantic puts behind a proof's index."""
    tagged = location[:1] == ("verify",) and len(location) > 2 and location[2] in SCHEMES  # noqa: PLR2004 - its place
    return location[:2] + location[3:] if tagged else location
