"""The engine of handshakes: total over its input, bounded in what it sends back, wary of what it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.handshakes import MAX_BODY, MAX_VALUE, Handshaker, Means
from gateway.inbound import Inbound
from gateway.reading import Content
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.recipe import parse_recipe
from gateway.verdict import Handshaken, Refused
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret

NAMES = [name for name in preset_names() if preset(name).handshake]
SECRETS = (Secret("first"), Secret("second"))
TOKENS = (Secret("token"),)
TEXT = st.text(max_size=40) | st.sampled_from(["token", "\r\nX: y", "\x00", "\ud800", "x" * (MAX_VALUE + 1)])
LEAF = st.none() | st.booleans() | st.integers() | TEXT.filter(lambda text: "\ud800" not in text)
LATIN = st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=60)


def means(**given_means: Any) -> Means:
    return Means(lambda: SECRETS, lambda: TOKENS, "https://hooks.example.com", **given_means)


def shaker(handshake: dict[str, Any], **given_means: Any) -> Handshaker:
    recipe = parse_recipe({"handshake": {"name": "test", **handshake}}, name="acme")
    return Handshaker(recipe.handshake, means(**given_means))


def request(
    method: str = "GET", query: str = "", body: bytes = b"", headers: dict[str, str] | None = None
) -> Inbound:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return Inbound(method, "/webhooks/acme", query, raw, body, 1e9)


def sound(outcome: object) -> None:
    """Check what holds of every outcome."""
    assert outcome is None or isinstance(outcome, Handshaken | Refused)
    if isinstance(outcome, Refused):
        assert 400 <= outcome.status < 500
    if isinstance(outcome, Handshaken):
        assert 200 <= outcome.answer.status < 300
        assert len(outcome.answer.body) < 8 * MAX_VALUE * 4
        assert b"html" not in outcome.answer.content_type
        for name, value in outcome.answer.headers:
            assert name.isascii()
            assert value.isascii()
            assert not {0, 10, 13}.intersection(value)


@st.composite
def requests(draw: st.DrawFn, name: str) -> Inbound:
    """A request in which the selectors of a provider's handshakes find something, of whatever kind."""
    one = draw(st.sampled_from(preset(name).handshake))
    query: list[str] = []
    headers: dict[str, str] = {}
    document: Any = {}
    for text, wanted in [*one.when.items(), (one.token or "", True), (one.learn or "", True)]:
        place, _, key = text.partition(":")
        value = wanted if type(wanted) is not bool else draw(LEAF if place == "body" else LATIN)
        if place == "query":
            query.append(f"{key}={value}")
        elif place == "header":
            headers[key] = str(value)
        elif place == "body":
            here = document
            *path, last = key.split(".")
            for part in path:
                here = here.setdefault(part, {})
            here[last] = value
    body = b"" if one.empty else draw(st.just(json.dumps(document).encode()) | st.binary(max_size=50))
    return request(draw(st.sampled_from([one.method, "POST", "GET"])), "&".join(query), body, headers)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_whatever_comes_the_outcome_is_a_value(name: str, data: st.DataObject) -> None:
    inbound = data.draw(requests(name))
    engine = Handshaker(preset(name).handshake, means(learn=data.draw(st.booleans())))
    sound(engine.unsigned(inbound))
    try:
        document = json.loads(inbound.body)
    except ValueError:
        document = None
    sound(engine.signed(inbound, Content(document)))


def test_a_large_body_is_not_looked_into_before_it_is_verified() -> None:
    engine = shaker({"when": {"body:challenge": True}, "answer": {"body": "{body:challenge}"}})
    body = b'{"challenge": "x"' + b" " * MAX_BODY + b"}"
    assert engine.unsigned(request("POST", body=body)) is None
    assert isinstance(engine.unsigned(request("POST", body=body.replace(b" " * 100, b""))), Handshaken)


def test_digests_are_made_with_the_first_active_secret() -> None:
    engine = shaker({"method": "GET", "digest": {"of": "{query:c}"}, "answer": {"body": "{digest}"}})
    found = engine.unsigned(request(query="c=abc"))
    assert isinstance(found, Handshaken)
    # echo -n abc | openssl dgst -sha256 -hmac first
    assert found.answer.body == b"c2bc64f1f16e344843291ce8e03371951e50b33c465c14639872ab57c15e2172"


def test_what_the_source_lacks_is_said_and_nothing_computed() -> None:
    recipe = parse_recipe(
        {
            "handshake": {
                "name": "x",
                "method": "GET",
                "digest": {"of": "{query:c}"},
                "answer": {"body": "{digest}"},
            }
        },
        name="acme",
    )
    bare = Handshaker(recipe.handshake, Means(tuple, tuple))
    refused = bare.unsigned(request(query="c=abc"))
    assert isinstance(refused, Refused)
    assert refused.check == "handshake_unset"
    for word in ("verify_token", "endpoint"):
        engine = Handshaker(
            parse_recipe(
                {"handshake": {"name": "x", "method": "GET", "answer": {"body": f"{{{word}}}"}}}, name="acme"
            ).handshake,
            Means(tuple, tuple),
        )
        outcome = engine.unsigned(request())
        assert isinstance(outcome, Refused)
        assert outcome.check == "handshake_unset"


def test_a_token_must_be_one_that_counts() -> None:
    engine = shaker({"method": "GET", "token": "query:t", "answer": {}})
    assert isinstance(engine.unsigned(request(query="t=token")), Handshaken)
    for query in ("", "t=", "t=Token", "t=token%20", "t=token2"):
        refused = engine.unsigned(request(query=query))
        assert isinstance(refused, Refused)
        assert refused.check == "handshake_token"


def test_a_body_may_be_json_of_any_shape_with_braces_of_its_own() -> None:
    engine = shaker({"method": "GET", "answer": {"body": {"a": [1, True, "{query:c}"], "b": "{} {x y}"}}})
    found = engine.unsigned(request(query="c=%22"))
    assert isinstance(found, Handshaken)
    assert json.loads(found.answer.body) == {"a": [1, True, '"'], "b": "{} {x y}"}


@pytest.mark.parametrize(
    ("handshake", "complaint"),
    [
        ({}, "a POST without `when` or `empty`"),
        ({"method": "PUT"}, "method"),
        ({"method": "GET", "learn": "query:x"}, "only a POST"),
        ({"when": {"body:a": True}, "learn": "body:a", "signed": True}, "can't be signed with it"),
        ({"when": {"cookie:a": True}}, "is no selector"),
        ({"when": {"signature:a": True}}, "can't stand here"),
        ({"method": "GET", "answer": {"body": "{nothing}"}}, "is no variable"),
        ({"method": "GET", "answer": {"headers": {"Set-Cookie": "x"}}}, "can't be a header"),
        ({"method": "GET", "answer": {"headers": {"a b": "x"}}}, "can't be a header"),
        ({"method": "GET", "answer": {"content_type": "text/html"}}, "content_type"),
        ({"method": "GET", "answer": {"status": 302}}, "status"),
        ({"method": "GET", "visit": {"url": "query:u", "hosts": []}}, "hosts"),
        ({"method": "GET", "visit": {"url": "query:u", "hosts": ["a/b"]}}, "hosts"),
    ],
)
def test_a_mistake_is_named(handshake: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        shaker(handshake)
