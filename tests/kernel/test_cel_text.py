from __future__ import annotations

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel import cel_text

TEXTS = st.text(alphabet="ab &|()[]{}?:,\\\"'/\n.=é", max_size=12)


def quoted(value: str) -> str:
    escapes = {"\\": "\\\\", "'": "\\'", "\n": "\\n"}
    return "'" + "".join(escapes.get(letter, letter) for letter in value) + "'"


LITERALS = st.one_of(
    TEXTS.map(quoted),
    TEXTS.filter(lambda text: '"' not in text and "\n" not in text).map(lambda text: f'r"{text}"'),
    TEXTS.filter(lambda text: "'" not in text and "\\" not in text).map(lambda text: f"'''{text}'''"),
    st.integers(0, 10**6).map(str),
    st.floats(0, 10**6, allow_nan=False).map(repr),
)
CLAUSES = st.one_of(
    st.builds("data.a == {}".format, LITERALS),
    st.builds("(data.a == {} && data.b)".format, LITERALS),
    st.builds("(data.a || data.b == {})".format, LITERALS),
    st.builds("[{}, data.b && true].size() == 2".format, LITERALS),
    st.builds("{{'a&&b': {}}}['a&&b'] == 1".format, LITERALS),
    st.builds("data.list.exists(x, x == {} && x)".format, LITERALS),
    st.builds("(data.a ? {} : data.b && data.c) == 1".format, LITERALS),
)
GAPS = st.sampled_from([" && ", "&&", "\n && ", " && // && ' (\n", "\t&&\n\n"])


@given(st.lists(CLAUSES, min_size=1, max_size=5), GAPS)
def test_an_expression_is_split_where_it_was_joined(clauses: list[str], gap: str) -> None:
    text = gap.join(clauses)
    cel.compile(text)
    assert cel_text.conjuncts(text) == clauses


@given(CLAUSES, CLAUSES, st.sampled_from(["{} || {}", "data.a && {} ? {} : true"]))
def test_a_looser_operator_keeps_the_expression_whole(left: str, right: str, form: str) -> None:
    text = form.format(left, right)
    cel.compile(text)
    assert cel_text.conjuncts(text) == [text]


@given(st.text(max_size=60))
def test_tokens_of_any_text_lie_in_order_and_leave_only_blanks_and_comments_between(text: str) -> None:
    end = 0
    for token in cel_text.tokens(text):
        between = text[end : token.start]
        assert not between.strip() or "//" in between
        assert text[token.start : token.end] == token.text
        end = token.end


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data.a.b == 1", [("data", ("a", "b"))]),
        ("data['a'][\"b c\"].d > 0", [("data", ("a", "b c", "d"))]),
        ("data.a[0].b == 1", [("data", ("a",))]),
        ("data.a.size() == 1", [("data", ("a",))]),
        ("data.exists(k, k == 'a')", [("data", ())]),
        ("data[key] == 1", [("data", ())]),
        ("data[r'a'] == data['\\x61']", [("data", ()), ("data", ())]),
        ("size(data) + data . a", [("data", ()), ("data", ("a",))]),
        ("'data.a' == headers['h']", [("headers", ("h",))]),
    ],
)
def test_paths_are_cut_where_a_member_is_no_plain_name(text: str, expected: object) -> None:
    assert cel_text.paths(text, ("data", "headers")) == expected


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("data.a == 'x == y'", ("data.a", "'x == y'")),
        ("(data.a < 1) == true", ("(data.a < 1)", "true")),
        ("data.a in [1, 2]", ("data.a", "[1, 2]")),
        ("a == b != c", ("a == b", "c")),
        ("data.a == 1 || data.b == 2", None),
        ("data.a.startsWith('<')", None),
        ("", None),
    ],
)
def test_operands_of_a_comparison(clause: str, expected: object) -> None:
    assert cel_text.operands(clause) == expected


def test_names_that_macros_bind() -> None:
    assert cel_text.bound_names("data.l.all(x, x.m.exists(y, y > x)) && size(z)") == {"x", "y"}


def test_the_place_of_a_name_counts_lines_and_columns_from_one() -> None:
    assert cel_text.place_of("a &&\n  'b' == b", "b") == (2, 10)
