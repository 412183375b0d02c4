"""What is taken out of events, or gets another name, before anything is stored."""

from __future__ import annotations

import copy
import functools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inbound import Inbound
from gateway.recipes.presets import preset, preset_names
from gateway.shaping import shaper_of
from gateway.sources import build_intakes
from gateway.verdict import Accepted, Batch, Quarantined, Verdict
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.live import LiveSettings
from tidemill.kernel.settings.model import Settings

DATA: dict[str, Any] = {
    "id": 1,
    "card": {"number": "4242", "brand": "visa"},
    "items": [{"sku": "a", "email": "x@y"}, {"sku": "b"}, 5],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
PATH = st.lists(st.sampled_from(["a", "b", "0", "1", "*"]), min_size=1, max_size=3).map(".".join)


def shaped(prune: list[str], rename: dict[str, str] | None = None, data: Any = None) -> Any:
    shaper = shaper_of(prune, rename or {}, where="sources.shop")
    assert shaper is not None
    return shaper.shape(DATA if data is None else data)


@pytest.mark.parametrize(
    ("prune", "rename", "expected"),
    [
        (["card.number"], {}, {**DATA, "card": {"brand": "visa"}}),
        (["card"], {}, {"id": 1, "items": DATA["items"]}),
        (["items.*.email"], {}, {**DATA, "items": [{"sku": "a"}, {"sku": "b"}, 5]}),
        (["items.0"], {}, {**DATA, "items": [{"sku": "b"}, 5]}),
        (["items.*"], {}, {**DATA, "items": []}),
        (["*"], {}, {}),
        (["*.number", "nothing", "id.deeper", "items.9.x"], {}, {**DATA, "card": {"brand": "visa"}}),
        ([], {"id": "order.id"}, {"order": {"id": 1}, "card": DATA["card"], "items": DATA["items"]}),
        ([], {"card.brand": "brand"}, {**DATA, "card": {"number": "4242"}, "brand": "visa"}),
        ([], {"nothing": "something"}, DATA),
        ([], {"card": "card.kept"}, {**DATA, "card": {"kept": DATA["card"]}}),
        ([], {"id": "card.number.value"}, DATA),
        ([], {"id": "items.0"}, DATA),
    ],
)
def test_paths_are_taken_out_and_renamed(prune: list[str], rename: dict[str, str], expected: Any) -> None:
    before = copy.deepcopy(DATA)
    assert shaped(prune, rename) == expected
    assert before == DATA


def without(value: Any, path: list[str]) -> Any:
    """Return a value built anew without what stands at a path, another way than the product does it."""
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = [(str(index), item) for index, item in enumerate(value)]
    else:
        return value
    part, *rest = path
    fits = {key for key, _ in pairs if part in (key, "*")}
    left = [
        (key, without(item, rest) if key in fits else item) for key, item in pairs if key not in fits or rest
    ]
    return dict(left) if isinstance(value, dict) else [item for _, item in left]


def at(value: Any, path: list[str]) -> Any:
    """Return what stands at a path without `*`.

    Raises:
        LookupError: nothing does.
    """
    for part in path:
        items = dict(enumerate(value)) if isinstance(value, list) else value
        known = {str(key): item for key, item in items.items()} if isinstance(items, dict) else {}
        value = known[part]
    return value


@given(JSON, st.lists(PATH, min_size=1, max_size=3))
def test_what_is_pruned_is_gone_and_all_else_stays(data: Any, prune: list[str]) -> None:
    before = copy.deepcopy(data)
    expected = functools.reduce(lambda value, path: without(value, path.split(".")), prune, data)
    shaper = shaper_of(prune, {}, where="sources.shop")
    assert shaper is not None
    assert shaper.shape(data) == expected
    assert data == before


@given(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), PATH.filter(lambda path: "*" not in path))
def test_what_is_renamed_stands_at_its_new_place_and_all_else_stays(data: Any, old: str) -> None:
    shaper = shaper_of([], {old: "new.name"}, where="sources.shop")
    assert shaper is not None
    try:
        value = at(data, old.split("."))
    except LookupError:
        assert shaper.shape(data) == data
    else:
        assert shaper.shape(data) == {**without(data, old.split(".")), "new": {"name": value}}


@pytest.mark.parametrize(
    ("prune", "rename"), [(["a..b"], {}), ([""], {}), ([], {"a.*": "b"}), ([], {"a": ""})]
)
def test_a_path_that_is_none_is_said(prune: list[str], rename: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"sources\.shop"):
        shaper_of(prune, rename, where="sources.shop")


def receive(document: Any, **keys: Any) -> Verdict:
    recipe = {"event": {"type": "{item:kind}", "split": "body:events", "data": ["body", "form"]}}
    source = {"recipe": recipe, "allow_unsigned": True, **keys}
    settings = Settings.load(None, {}, {"sources": {"shop": source}})
    intake = build_intakes(settings, LiveSettings(settings))["shop"]
    form = isinstance(document, bytes)
    kind = b"application/x-www-form-urlencoded" if form else b"application/json"
    body = document if form else json.dumps(document).encode()
    return intake.receive(Inbound("POST", "/", "", [(b"content-type", kind)], body, 1e9))


def test_nothing_that_is_stored_holds_what_was_taken_out() -> None:
    verdict = receive({"kind": "paid", "card": "4242"}, prune=["card"], rename={"kind": "what"})
    assert isinstance(verdict, Accepted)
    event = verdict.envelope
    assert (event.type, event.data, event.raw) == ("shop.paid", {"what": "paid"}, b'{"what":"paid"}')
    nameless = receive({"card": "4242"}, prune=["card"])
    assert isinstance(nameless, Quarantined)
    assert nameless.envelope.raw == b"{}"
    batch = receive({"events": [{"kind": "paid", "card": "4242"}]}, prune=["card"])
    assert isinstance(batch, Batch)
    assert (batch.key, batch.items[0].envelope.raw) == ("", b'{"kind":"paid"}')
    assert "batchblob" not in batch.items[0].envelope.extensions
    form = receive(b"kind=paid&card=4242", prune=["card"])
    assert isinstance(form, Accepted)
    assert (form.envelope.data, form.envelope.datacontenttype) == ({"kind": "paid"}, "application/json")


def test_answers_of_the_settings_take_the_preset_s_place() -> None:
    source = {
        "preset": "xero",
        "secrets": ["k"],
        "answer": {"status": 204},
        "refusal": {"status": 403, "body": "no"},
    }
    settings = Settings.load(None, {}, {"sources": {"books": source}})
    recipe = build_intakes(settings, LiveSettings(settings))["books"].recipe
    assert recipe.answer is not None
    assert recipe.refusal is not None
    assert (recipe.answer.status, recipe.refusal.status, recipe.refusal.body) == (204, 403, "no")
    assert recipe.handshake


@pytest.mark.parametrize(
    "answer", [{"status": 302}, {"status": 204, "body": "x"}, {"content_type": "text/html"}, {"stauts": 200}]
)
def test_an_answer_that_cannot_be_is_said(answer: dict[str, Any]) -> None:
    settings = Settings.load(
        None, {}, {"sources": {"hub": {"preset": "github", "secrets": ["k"], "answer": answer}}}
    )
    with pytest.raises(SettingsError, match=r"sources\.hub\.answer"):
        build_intakes(settings, LiveSettings(settings))


@pytest.mark.parametrize("name", preset_names())
def test_what_the_settings_say_otherwise_leaves_the_rest_of_a_preset_alone(name: str) -> None:
    source = {
        "preset": name,
        "secrets": ["k"],
        "allow_unsigned": not preset(name).verify,
        "answer": {"status": 204},
        "deduplicate": ["{header:X-Id}"],
    }
    settings = Settings.load(None, {}, {"sources": {"it": source}})
    recipe, original = build_intakes(settings, LiveSettings(settings))["it"].recipe, preset(name)
    kept = {"verify", "handshake", "refusal", "reads", "signs_decoded", "provider", "sender"}
    assert recipe.model_dump(include=kept) == original.model_dump(include=kept)
    assert recipe.event == original.event.model_copy(update={"id": ["{header:X-Id}"]})
