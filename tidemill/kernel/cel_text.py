"""Reading a CEL expression as text: its tokens, its top-level conjuncts, and the data it looks at.

The lexical rules are those of the Common Expression Language definition, section "Syntax". This is no
parser: the CEL library has already accepted the text, here it is only cut where that is safe.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Kind = Literal["string", "number", "name", "operator"]
Path = tuple[str, ...]

MACROS: Final = frozenset({"all", "exists", "exists_one", "filter", "map"})
RELATIONS: Final = frozenset({"==", "!=", "<=", ">=", "<", ">", "in"})
_LOOSER_THAN_AND: Final = frozenset({"||", "?"})
_OPENING: Final = frozenset("([{")
_CLOSING: Final = frozenset(")]}")
_TOKEN = re.compile(
    r"""
    (?P<blank>\s+|//[^\n]*)
    | (?P<string>
        (?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
        | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      )
    | (?P<number>(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)[uU]?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<operator>&&|\|\||==|!=|<=|>=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: Final[dict[str, Kind]] = {
    "string": "string",
    "number": "number",
    "name": "name",
    "operator": "operator",
}


@dataclass(frozen=True, slots=True)
class Token:
    """A token with its place in the text and the number of brackets that are open around it."""

    kind: Kind
    text: str
    start: int
    end: int
    depth: int


def tokens(text: str) -> list[Token]:
    """Cut an expression into tokens; blanks and comments are left out."""
    return list(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = _KINDS.get(match.lastgroup or "")
        if kind is None:
            continue
        depth -= match.group() in _CLOSING
        yield Token(kind, match.group(), match.start(), match.end(), depth)
        depth += match.group() in _OPENING


def conjuncts(text: str) -> list[str]:
    """Split at the `&&` of the top level; a text whose top-level operator is looser stays whole."""
    parts = tokens(text)
    top = [token for token in parts if token.depth == 0 and token.kind == "operator"]
    if any(token.text in _LOOSER_THAN_AND for token in top):
        return [_slice(text, parts)]
    cuts = [token for token in top if token.text == "&&"]
    return [_slice(text, clause) for clause in _split(parts, cuts)]


def _split(parts: list[Token], cuts: list[Token]) -> Iterator[list[Token]]:
    clause: list[Token] = []
    for token in parts:
        if token in cuts:
            yield clause
            clause = []
        else:
            clause.append(token)
    yield clause


def _slice(text: str, parts: list[Token]) -> str:
    return text[parts[0].start : parts[-1].end] if parts else ""


def operands(clause: str) -> tuple[str, str] | None:
    """Return both sides of the comparison that a clause is, None where it is something else."""
    parts = tokens(clause)
    top = [token for token in parts if token.depth == 0 and token.kind in ("operator", "name")]
    if any(token.text in _LOOSER_THAN_AND or token.text == "&&" for token in top):
        return None
    relations = [token for token in top if token.text in RELATIONS]
    if not relations:
        return None
    left = [token for token in parts if token.end <= relations[-1].start]
    right = [token for token in parts if token.start >= relations[-1].end]
    return _slice(clause, left), _slice(clause, right)


def paths(text: str, variables: Iterable[str]) -> list[tuple[str, Path]]:
    """Return which members of which variables an expression can look at, in the order of the text.

    `data.a['b'].size()` looks at `("data", ("a", "b"))`: the chain ends where a member isn't a plain
    name or text. A path stands for all that is below it, so that too short a path is always safe.
    """
    parts = tokens(text)
    wanted = set(variables)
    return [
        (token.text, _chain(parts, index + 1))
        for index, token in enumerate(parts)
        if token.kind == "name" and token.text in wanted
    ]


def _chain(parts: list[Token], index: int) -> Path:
    path: list[str] = []
    while (step := _member(parts[index : index + 4])) is not None:
        name, length = step
        path.append(name)
        index += length
    return tuple(path)


def _member(ahead: list[Token]) -> tuple[str, int] | None:
    """Return the member that `.name` or `['name']` selects and its number of tokens; no method call."""
    texts = [token.text for token in ahead]
    if texts[:1] == ["."] and len(ahead) > 1 and ahead[1].kind == "name":
        return None if texts[2:3] == ["("] else (texts[1], 2)
    if texts[:1] == ["["] and texts[2:3] == ["]"] and ahead[1].kind == "string":
        name = _plain_text(texts[1])
        return None if name is None else (name, 3)
    return None


def _plain_text(literal: str) -> str | None:
    """Return the value of a string literal that Python and CEL read alike, else None."""
    if literal[0] not in "\"'" or "\\" in literal or "\n" in literal:
        return None
    value = ast.literal_eval(literal)
    return value if isinstance(value, str) else None


def bound_names(text: str) -> set[str]:
    """Return the names that macros bind, like `c` in `data.commits.exists(c, c.distinct)`."""
    parts = tokens(text)
    return {
        after.text
        for (macro, bracket), after in zip(pairwise(parts), parts[2:], strict=False)
        if macro.text in MACROS and bracket.text == "(" and after.kind == "name"
    }


def place_of(text: str, name: str) -> tuple[int, int]:
    """Return line and column, both from 1, of a name's first use; 1, 1 where it isn't in the text."""
    start = next((token.start for token in tokens(text) if token.text == name), 0)
    before = text[:start]
    return before.count("\n") + 1, start - (before.rfind("\n") + 1) + 1
