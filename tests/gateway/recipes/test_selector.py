from __future__ import annotations

from typing import Any

import pytest

from gateway.recipes import selector, template
from tidemill.kernel.errors import SettingsError

DOCUMENT: Any = {
    "data": {"object": {"id": "ch_1", "n": 7, "7": "seven"}},
    "items": [{"id": 0}, "x"],
    "empty": "",
}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("data.object.id", "ch_1"),
        ("data.object.n", "7"),
        ("data.object.7", "seven"),
        ("items.0.id", "0"),
        ("items.1", "x"),
        ("items.2", None),
        ("items.01", None),
        ("items.-1", None),
        ("items.x", None),
        ("data", None),
        ("empty", None),
        ("data.object.id.deeper", None),
        ("items." + "9" * 5000, None),
    ],
)
def test_a_path_finds_text_or_nothing(path: str, text: str | None) -> None:
    assert selector.text_of(selector.find(DOCUMENT, selector.path_of(path))) == text


@pytest.mark.parametrize("value", [True, False, None, 1.5, [], {}, ""])
def test_what_has_no_single_spelling_is_no_text(value: object) -> None:
    assert selector.text_of(value) is None


def test_paths_are_written_as_operators_read_them() -> None:
    assert selector.json_path(["commits", 0, "id"]) == "$.commits[0].id"
    assert selector.json_path(["a b", 'c"d']) == '$["a b"]["c\\"d"]'
    assert selector.json_path([]) == "$"


def test_a_template_is_literals_and_selectors() -> None:
    parts = template.parse("v0:{timestamp}:{header:X-Id}")
    assert [str(part) for part in parts] == ["v0:", "timestamp", ":", "header:X-Id"]
    assert template.lone_selector("{body:id}") == selector.Selector("body", "id")
    assert template.lone_selector("x{body:id}") is None
    assert template.lone_selector("literal") is None
    assert selector.parse("header:X-Id").key == b"x-id"


@pytest.mark.parametrize("text", ["{", "}", "{a}", "{{body}}", "{header:}", "{body} }", "{}", "x" * 1001])
def test_a_malformed_template_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError):
        template.parse(text)
