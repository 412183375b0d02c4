"""The schemas and samples of the product: every one refuses what it should, and fits its preset."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import pytest

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.recipes.new_secret import new_secret
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.samples import body_of, new_id
from gateway.recipes.sign import sign_request
from gateway.schemas import BUNDLED, SchemaStore
from gateway.verdict import Accepted, Batch
from tidemill.kernel.settings.secrets import Secret
from tidemill.kernel.subjects import unescape_type

STORE: Final = SchemaStore()
SAMPLES: Final = sorted(path for path in BUNDLED.glob("*/*/samples/*.json"))
SIGNABLE: Final = [path for path in SAMPLES if path.parents[2].name in preset_names()]
NOW: Final = 1_793_000_000.0
EXAMPLES: Final[dict[str, Any]] = {
    "null": None, "boolean": True, "integer": 7, "number": 7.5, "string": "text", "array": [], "object": {},
}  # fmt: skip
Place = tuple[str | int, ...]
Wrong = tuple[Place, Any]


def named(path: Path) -> str:
    return str(path.relative_to(BUNDLED).with_suffix(""))


def place_of(sample: Path) -> tuple[str, str]:
    return sample.parents[2].name, unescape_type(sample.parents[1].name)


def resolved(schema: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schema's alternatives, with references followed."""
    if "$ref" in schema:
        return resolved(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    if "anyOf" in schema:
        return [found for one in schema["anyOf"] for found in resolved(one, root)]
    return [schema]


def allowed(alternatives: list[dict[str, Any]]) -> set[str] | None:
    """Return the types that any alternative allows, None where one allows all."""
    found: set[str] = set()
    for schema in alternatives:
        if "type" not in schema:
            return None
        found |= {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
    return found | {"integer"} if "number" in found else found


def mutations(schema: dict[str, Any], document: Any, root: dict[str, Any], at: Place = ()) -> Iterator[Wrong]:
    """Yield what mustn't fit: a place and the value there, or `...` where it is to be taken away."""
    alternatives = resolved(schema, root)
    types = allowed(alternatives)
    if types is not None:
        yield at, next(value for name, value in EXAMPLES.items() if name not in types)
    for one in alternatives:
        if "const" in one:
            yield at, f"not {one['const']}"
        if "pattern" in one:
            yield at, "!"
        if isinstance(document, list) and document and "items" in one:
            yield from mutations(one["items"], document[0], root, (*at, 0))
        if isinstance(document, dict):
            yield from (((*at, key), ...) for key in one.get("required", ()))
            for key, inner in one.get("properties", {}).items():
                if key in document:
                    yield from mutations(inner, document[key], root, (*at, key))


def mutated(document: Any, at: Place, value: Any) -> Any:
    if not at:
        return value
    changed = copy.deepcopy(document)
    holder = changed
    for part in at[:-1]:
        holder = holder[part]
    if value is ...:
        del holder[at[-1]]
    else:
        holder[at[-1]] = value
    return changed


def test_the_commonest_events_of_many_providers_have_schemas() -> None:
    types: dict[str, set[str]] = {}
    for source, event_type, _, _ in STORE.known():
        types.setdefault(source, set()).add(event_type)
    assert len([source for source, found in types.items() if len(found) >= 2]) >= 25
    assert {"slack", "gitlab", "shopify", "jira", "telegram", "zoom", "paypal"} <= types.keys()
    assert types["shopify"] >= {"orders/create", "app/uninstalled"}


def test_every_schema_has_a_sample_and_every_sample_a_schema() -> None:
    with_sample = {place_of(sample) for sample in SAMPLES}
    with_schema = {(source, event_type) for source, event_type, _, _ in STORE.known()}
    assert with_schema - with_sample == set()
    assert with_sample - with_schema == {("standard-webhooks", "contact.created")}


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_a_sample_fits_its_schema_and_what_is_wrong_in_it_does_not(sample: Path) -> None:
    source, event_type = place_of(sample)
    schema = STORE.find((source,), (event_type,))
    if schema is None:
        assert source == "standard-webhooks"
        return
    document = orjson.loads(sample.read_bytes())
    assert schema.check(document) is None
    wrong = list(mutations(schema.document, document, schema.document))
    assert len(wrong) > 5
    unnoticed = [at for at, value in wrong if schema.check(mutated(document, at, value)) is None]
    assert unnoticed == []


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_values_that_are_listed_without_being_binding_hold_the_sample_s(sample: Path) -> None:
    """`x-values` says which values were known when a schema was written: the samples' are among them."""
    schema = STORE.find((place_of(sample)[0],), (place_of(sample)[1],))
    if schema is None:
        return

    def strangers(part: dict[str, Any], document: Any) -> Iterator[str]:
        for one in resolved(part, schema.document):
            if "x-values" in one and document is not None and document not in one["x-values"]:
                yield str(document)
            for key, inner in one.get("properties", {}).items():
                if isinstance(document, dict) and key in document:
                    yield from strangers(inner, document[key])
            for item in document if isinstance(document, list) and "items" in one else ():
                yield from strangers(one["items"], item)

    assert list(strangers(schema.document, orjson.loads(sample.read_bytes()))) == []


@pytest.mark.parametrize("sample", SIGNABLE, ids=named)
def test_a_signed_sample_is_accepted_with_its_schema(sample: Path) -> None:
    source, event_type = place_of(sample)
    recipe, event_id = preset(source), new_id(preset(source))
    body = body_of(recipe, orjson.loads(sample.read_bytes()), event_id=event_id, timestamp=NOW)
    url, secret = "https://hooks.example.com/webhooks/x", new_secret(recipe.verify[0])
    tokens = (Secret("a-token"),)
    sent = sign_request(
        recipe,
        secret,
        body,
        event_type=event_type,
        event_id=event_id,
        timestamp=NOW,
        url=url,
        tokens=lambda: tokens,
    )
    raw = [(name.lower().encode(), value.encode()) for name, value in sent.headers.items()]
    intake = Intake(
        source,
        recipe,
        secrets=(secret,),
        verify_tokens=tokens,
        schemas=STORE,
        public_url="https://hooks.example.com",
    )
    parts = urlsplit(sent.url)
    verdict = intake.receive(Inbound("POST", parts.path, parts.query, raw, sent.body, NOW))
    if isinstance(verdict, Batch):
        (verdict,) = verdict.items
    assert isinstance(verdict, Accepted), verdict
    expected = STORE.find((source,), (event_type,))
    assert verdict.schema == (expected.identifier if expected else None)
    assert verdict.envelope.dataschema == verdict.schema
    assert verdict.envelope.type.startswith(f"{source}.{event_type}")
