from __future__ import annotations

from typing import Any

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.where import Broken, Filtered, Matched, Verdict, compile_where

PUSH = {"ref": "refs/heads/dev", "forced": False, "size": 3, "commits": [{"id": "a"}, {"id": "b"}]}


def evaluate(text: str, data: Any = PUSH, headers: dict[str, str] | None = None) -> Verdict:
    return compile_where(text).evaluate(data, "github.push", "github", None, headers or {})


@pytest.mark.parametrize(
    "text",
    [
        "data.ref == 'refs/heads/dev'",
        "data['ref'].endsWith('dev') && type == 'github.push' && source == 'github'",
        "subject == null && !data.forced",
        "data.commits.exists(c, c.id == 'b') && size(data.commits) == 2",
        "headers['x-github-event'] == 'push'",
        "has(data.missing) ? data.missing == 1 : true",
        "data.missing == 1 || data.size > 2",
        "data.commits.all(data, data.id != 'z')",
        "'ref' in data && data.size in [1, 2, 3]",
        "{'wrapped': data}.wrapped.size == 3",
    ],
)
def test_an_expression_that_holds_matches(text: str) -> None:
    assert evaluate(text, headers={"x-github-event": "push"}) == Matched()


@pytest.mark.parametrize(
    ("text", "clause", "value"),
    [
        ("data.ref == 'refs/heads/main'", "data.ref == 'refs/heads/main'", "refs/heads/dev"),
        ("data.size == 3 && data.ref == 'main' && data.forced", "data.ref == 'main'", "refs/heads/dev"),
        ("data.ref == 'a && b' && data.size == 3", "data.ref == 'a && b'", "refs/heads/dev"),
        ("'main' == data.ref", "'main' == data.ref", "refs/heads/dev"),
        ("data.ref.startsWith('x')", "data.ref.startsWith('x')", "refs/heads/dev"),
        ("data.size == 3 && !has(data.ref)", "!has(data.ref)", "refs/heads/dev"),
        ("data.size + 1 > 10", "data.size + 1 > 10", 4),
        ("data.size == 1 || data.size == 2", "data.size == 1 || data.size == 2", 3),
        ("data.missing == 1 && data.forced", "data.forced", False),
        ("type == 'other' // never && always", "type == 'other'", "github.push"),
        ("headers['a'] != '1'", "headers['a'] != '1'", "1"),
        ("false", "false", None),
    ],
)
def test_a_false_expression_names_the_first_false_clause_and_its_value(
    text: str, clause: str, value: object
) -> None:
    assert evaluate(text, headers={"a": "1"}) == Filtered(clause, value)


@pytest.mark.parametrize(
    ("text", "clause", "value", "reason"),
    [
        ("data.missing == 1", "data.missing == 1", None, "there is no member 'missing'"),
        ("data.size == 3 && data.a.b == 1", "data.a.b == 1", None, "there is no member 'a'"),
        ("data.ref", "data.ref", "refs/heads/dev", "it gives a string, not true or false"),
        ("data.size == 3 && data.missing == 1 && true", "data.missing == 1", None, "no member 'missing'"),
        ("data.size.startsWith('x')", "data.size.startsWith('x')", 3, "'startsWith' isn't defined"),
        ("data.commits[7].id == 'a'", "data.commits[7].id == 'a'", PUSH["commits"], "out of bounds"),
        ("data.size / 0 == 1", "data.size / 0 == 1", 3, "division by zero"),
        ("data < 'text'", "data < 'text'", PUSH, "its operator isn't defined"),
        ("subject", "subject", None, "it gives null"),
    ],
)
def test_an_expression_that_fails_names_the_clause_its_value_and_the_reason(
    text: str, clause: str, value: object, reason: str
) -> None:
    verdict = evaluate(text)
    assert isinstance(verdict, Broken)
    assert (verdict.clause, verdict.value) == (clause, value)
    assert reason in verdict.reason


def test_a_long_value_is_cut_to_the_beginning_of_its_text() -> None:
    verdict = evaluate("data.text == 'x'", {"text": "a" * 5000})
    assert isinstance(verdict, Filtered)
    assert verdict.value.startswith('"aaa')
    assert len(verdict.value) < 1100


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("data.ref ==", "line 1, column 12", "an expression in CEL"),
        ("", "line 1, column 1", "an expression in CEL"),
        ("data.ref == 'x' &&\n  == 2", "line 2, column 3", "an expression in CEL"),
        ("dat.ref == 'x'", "unknown variable 'dat' at line 1, column 1", "did you mean 'data'?"),
        ("type == 'a' &&\n  payload == 1", "'payload' at line 2, column 3", "it knows the variables data"),
        ("data.ref.startswith('x')", "unknown function 'startswith' at line 1, column 10", "'startsWith'"),
        ("data.l.exists(x, y == 1)", "unknown variable 'y' at line 1, column 18", "it knows"),
    ],
)
def test_what_does_not_compile_is_refused_with_its_position(text: str, place: str, hint: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        compile_where(text)
    assert place in caught.value.sentence
    assert hint in caught.value.hint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["a", "b", "c", "data", "x y"]) | st.text(max_size=3), inner, max_size=5
        )
    ),
    max_leaves=15,
)
OPERANDS = st.sampled_from(
    ["data.a", "data.b", "data['a'].b", "data.a.b.c", "data", "data['x y']", "size(data.a)", "headers['h']"]
)
LITERALS = st.sampled_from(["1", "'x'", "null", "true", "[1, 'a']", "2.5", "data.c", "type"])
ATOMS = st.one_of(
    st.builds("{} {} {}".format, OPERANDS, st.sampled_from(["==", "!=", "<", "in"]), LITERALS),
    st.builds("has(data.{})".format, st.sampled_from(["a", "b.c"])),
    st.builds(
        "data.{}.exists({}, {} == 1)".format, st.sampled_from("ab"), st.just("data"), st.just("data.c")
    ),
    st.builds("{}.contains('a')".format, OPERANDS),
    OPERANDS,
)
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds("({}) && {}".format, inner, inner)
        | st.builds("{} && {}".format, inner, inner)
        | st.builds("({} || {})".format, inner, inner)
        | st.builds("!({})".format, inner)
        | st.builds("({} ? {} : {})".format, inner, inner, inner)
    ),
    max_leaves=5,
)


@given(EXPRESSIONS, JSON)
def test_the_verdict_is_what_cel_says_about_the_whole_event(text: str, data: Any) -> None:
    context = {"data": data, "type": "t", "source": "s", "subject": None, "headers": {"h": "x"}}
    try:
        expected = cel.compile(text).execute(context)
    except Exception:  # noqa: BLE001 - the library raises a dozen kinds
        expected = None
    verdict = compile_where(text).evaluate(data, "t", "s", None, {"h": "x"})
    assert isinstance(
        verdict,
        {True: Matched, False: Filtered}.get(expected, Broken) if isinstance(expected, bool) else Broken,
    )
    if isinstance(verdict, Filtered):
        assert cel.compile(verdict.clause).execute(context) is False
