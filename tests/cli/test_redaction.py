from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.schemas import SchemaStore
from tidemill.cli.redaction import REDACTED, Redaction
from tidemill.kernel.subjects import unescape_type
from tidemill.samples import BUNDLED

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("document", "redacted"),
    [
        ({"email": "noor@corp.example.org"}, {"email": "user1@example.com"}),
        ({"text": "ask noor@a.de or +491700000001"}, {"text": "ask user1@example.com or +15550000001"}),
        (
            {"ip": "198.51.100.17", "v": "2001:db8:1:2:3:4:5:6"},
            {"ip": "192.0.2.2", "v": "2001:db8:0:2:0:0:0:1"},
        ),
        (
            {"version": "1.2.3", "time": "2026-10-26T07:33:20Z"},
            {"version": "1.2.3", "time": "2026-10-26T07:33:20Z"},
        ),
        ({"first_name": "Noor", "lastName": "Haddad"}, {"first_name": "First 1", "lastName": "Last 1"}),
        ({"user": {"login": "noorh", "id": 7}}, {"user": {"login": "user1", "id": 7}}),
        ({"name": "push", "repo_name": "mill"}, {"name": "push", "repo_name": "mill"}),
        (
            {"client_secret": "x", "downloadToken": "y"},
            {"client_secret": REDACTED, "downloadToken": REDACTED},
        ),
        ({"apiKey": "k", "keyboard": "qwerty"}, {"apiKey": REDACTED, "keyboard": "qwerty"}),
        ({"a": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"}, {"a": REDACTED}),
        ({"a": "see sk_live_abcdefghijkl"}, {"a": f"see {REDACTED}"}),
        (
            {"url": "https://a.example/x?id=7&access_token=abc#d"},
            {"url": f"https://a.example/x?id=7&access_token={REDACTED}#d"},
        ),
        ({"postal_code": "24103", "city": "Kiel"}, {"postal_code": "00000", "city": "City 1"}),
        ({"password": None, "token": True, "email": ""}, {"password": None, "token": True, "email": ""}),
    ],
)
def test_what_is_personal_or_secret_is_replaced(document: Any, redacted: Any) -> None:
    assert Redaction().redact(document) == redacted


def test_equal_values_stay_equal_and_others_apart() -> None:
    document = [{"email": "a@x.de"}, {"to": "<a@x.de>"}, {"email": "b@x.de"}]
    assert Redaction().redact(document) == [
        {"email": "user1@example.com"},
        {"to": "<user1@example.com>"},
        {"email": "user2@example.com"},
    ]


def test_further_keys_can_be_named() -> None:
    document = {"Note": "x", "total": 7, "rate": 1.5, "other": {"note": ["y"]}}
    redacted = {"Note": REDACTED, "total": 0, "rate": 1.5, "other": {"note": [REDACTED]}}
    assert Redaction(["note", "TOTAL"]).redact(document) == redacted


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(member) for key, member in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


@given(JSON)
def test_structure_and_types_stay_and_nothing_is_redacted_twice(document: Any) -> None:
    redacted = Redaction().redact(document)
    assert shape(redacted) == shape(document)
    assert Redaction().redact(redacted) == redacted


def test_samples_still_fit_their_schemas_when_they_are_redacted() -> None:
    store, misfits = SchemaStore(), []
    for path in BUNDLED.glob("*/*/samples/*.json"):
        schema = store.find((path.parents[2].name,), (unescape_type(path.parents[1].name),))
        document = Redaction().redact(orjson.loads(path.read_bytes()))
        if schema is not None and schema.check(document) is not None:
            misfits.append((str(path.relative_to(BUNDLED)), schema.check(document)))
    assert misfits == []
