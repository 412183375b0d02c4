from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from gateway.recipes.presets import RECIPES, preset, preset_names
from gateway.recipes.proofs import Hmac
from gateway.recipes.recipe import DEFAULT_BODY_LIMIT, parse_recipe, recipe_schema
from gateway.schemas import BUNDLED
from tidemill.kernel.errors import SettingsError

SIGNATURE = {"at": "header:X-Sig"}


def test_the_least_recipe_is_hmac_sha256_over_the_body_in_hex() -> None:
    recipe = parse_recipe({"verify": {"signature": SIGNATURE}}, name="acme")
    way = recipe.verify[0]
    assert isinstance(way, Hmac)
    assert (way.algorithm, way.signed, way.signature[0].encoding) == ("sha256", "{body}", "hex")
    assert recipe.body_limit == DEFAULT_BODY_LIMIT


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"verfy": {}}, "sources.acme.recipe.verfy: there is no such key"),
        (
            {"verify": {"signature": {"at": "X-Sig"}}},
            "recipe.verify[0].signature[0].at: 'X-Sig' is no selector",
        ),
        ({"verify": {"signature": {"at": "item:sig"}}}, "signature[0].at: 'item:sig' can't stand here"),
        ({"verify": {"signature": {"at": "header:X Sig"}}}, "'header:X Sig' is no selector"),
        ({"verify": {"signature": {"at": "header:(x)"}}}, "'(x)' is no header name"),
        (
            {"verify": {"signature": {**SIGNATURE, "encoding": "hexx"}}},
            "recipe.verify[0].signature[0].encoding: Input",
        ),
        ({"verify": {"signature": {**SIGNATURE, "key": "v1"}}}, "kv_sep and key belong together"),
        ({"verify": {"signature": []}}, "recipe.verify[0].signature: List should have at least 1 item"),
        (
            {"verify": {"scheme": "rot13", "signature": SIGNATURE}},
            "recipe.verify[0]: there is no such scheme: use one of hmac, hash, shared_secret",
        ),
        ({"verify": {"algorithm": "md4", "signature": SIGNATURE}}, "recipe.verify[0].algorithm"),
        ({"verify": {"signature": SIGNATURE, "signed": "{id"}}, "has a brace that stands alone"),
        ({"verify": {"signature": SIGNATURE, "signed": "{header:X-Id}"}}, "signed must contain {body}"),
        (
            {"verify": {"signature": SIGNATURE, "signed": "{timestamp}{body}"}},
            "timestamp and the {timestamp}",
        ),
        (
            {"verify": {"signature": SIGNATURE, "timestamp": {"at": "header:T"}}},
            "timestamp and the {timestamp}",
        ),
        ({"verify": {"signature": SIGNATURE, "id": "header:I"}}, "id and the {id} in signed belong together"),
        ({"verify": {"signature": SIGNATURE, "signed": "{item:a}{body}"}}, "'item:a' can't stand here"),
        ({"verify": {"signature": SIGNATURE, "signed": "{secret}{body}"}}, "'secret' can't stand here"),
        (
            {"verify": {"scheme": "hash", "signature": SIGNATURE, "signed": "{body}"}},
            "signed must contain {secret}",
        ),
        (
            {"verify": {"signature": {"at": "body:sig"}, "signed": "{body}"}},
            "a signature inside the body can't cover the whole body",
        ),
        (
            {"verify": {"signature": SIGNATURE, "body_unsigned": True}},
            "signed must contain {body}, or anybody could change it; or say body_unsigned",
        ),
        (
            {"verify": {"signature": SIGNATURE, "signed": "{body}{signed_headers}"}},
            "signed_headers and the {signed_headers} in signed belong together",
        ),
        (
            {"verify": {"scheme": "shared_secret", "at": "header:X", "each": "value"}},
            "with each, at must be a body:PATH",
        ),
        (
            {"verify": {"scheme": "ed25519", "signature": SIGNATURE, "algorithm": "sha1"}},
            "there is no such key",
        ),
        (
            {
                "verify": {
                    "signature": SIGNATURE,
                    "timestamp": {"at": "signature:t"},
                    "signed": "{timestamp}{body}",
                }
            },
            "needs item_sep, kv_sep and key",
        ),
        ({"event": {"type": "{body}"}}, "recipe.event.type[0]: 'body' can't stand here"),
        ({"event": {"time": {"at": "body:t", "unit": "h"}}}, "recipe.event.time[0].unit"),
        (
            {"event": {"by_type": {"push": {"subjekt": "x"}}}},
            "recipe.event.by_type.push.subjekt: there is no such",
        ),
        ({"event": {"data": "header:x"}}, "recipe.event.data[0]: 'header:x' can't stand here"),
    ],
)
def test_a_mistake_is_named_by_its_key(raw: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_recipe(raw, name="acme", where="sources.acme.recipe")
    assert complaint in caught.value.sentence
    assert caught.value.hint


def test_the_published_schema_is_the_models() -> None:
    published = json.loads((BUNDLED / "recipe.schema.json").read_text())
    assert published == recipe_schema(), (
        "write gateway.recipes.recipe.recipe_schema() to schemas/recipe.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_fits_the_published_schema_and_says_what_it_rests_on(name: str) -> None:
    document = json.loads((RECIPES / f"{name}.json").read_text())
    jsonschema.Draft202012Validator(recipe_schema()).validate(document)
    assert preset(name).name == name
    assert preset(name).evidence
    assert preset(name).provider.docs.startswith("https://")


def test_an_unknown_preset_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError) as caught:
        preset("../recipe.schema")
    assert all(name in caught.value.hint for name in ("github,", "standard-webhooks,", "stripe,"))
