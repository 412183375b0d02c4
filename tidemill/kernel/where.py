"""The `where` of a task: a CEL expression over an event that says whether the task wants it.

The library needs time in proportion to the data that it is handed (0.1 ms per kilobyte and more), so an
expression is handed only the members that its text mentions: a 7 kB push is cut down to its `ref`.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel import cel_text
from tidemill.kernel.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import cel

VARIABLES: Final = ("data", "type", "source", "tenant", "subject", "headers")
FUNCTIONS: Final = frozenset({
    "contains", "startsWith", "endsWith", "matches", "size", "string", "bytes", "int", "uint", "double",
    "timestamp", "duration", "dyn", "type", "getFullYear", "getMonth", "getDate", "getDayOfMonth",
    "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds",
    "of", "none", "ofNonZeroValue", "hasValue", "value", "orValue",
})  # fmt: skip
_CUT: Final = ("data", "headers")
_TYPE_NAMES: Final = frozenset({
    "bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "optional",
})  # fmt: skip
_HINT: Final = f"an expression in CEL over {', '.join(VARIABLES)}, like data.ref == 'refs/heads/main'"
_MAX_VALUE_BYTES: Final = 1024
_PARSE_PLACE = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")
_UNDEFINED = re.compile(r"Undefined variable or function: '([^']*)'")
_NAME = re.compile(r"[A-Za-z]\w*")
_PLAIN_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class Matched:
    """The task wants the event."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """The task doesn't want the event: `clause` is false, `value` (JSON) is what it looked at."""

    clause: str
    value: Any


@dataclass(frozen=True, slots=True)
class Broken:
    """The expression can't be decided on this event: `clause` failed for `reason`, looking at `value`."""

    clause: str
    value: Any
    reason: str


Verdict = Matched | Filtered | Broken


class _UndecidedError(Exception):
    """An expression failed or gave neither true nor false."""


@dataclass(frozen=True, slots=True)
class _Clause:
    """One conjunct, with what explains it: the side of its comparison that is shown, or a path."""

    text: str
    program: cel.Program
    shown: cel.Program | None
    path: tuple[str, cel_text.Path] | None

    def value(self, context: dict[str, Any]) -> Any:
        """Return what the clause looked at, as JSON; None where that doesn't exist."""
        if self.shown is None:
            return _presentable(_resolve(context, self.path))
        try:
            return _presentable(self.shown.execute(context))
        except Exception:  # noqa: BLE001 - it explains a verdict that stands already
            return _presentable(_resolve(context, self.path))


@dataclass(frozen=True, slots=True)
class Where:
    """A compiled expression. Made by `compile_where`; evaluating it never raises."""

    text: str
    _program: cel.Program
    _clauses: tuple[_Clause, ...]
    _members: Mapping[str, _Tree | None]

    def evaluate(  # noqa: PLR0913, PLR0917 - an event's variables, and those that the expression has beside
        self,
        data: Any,
        type: str,  # noqa: A002 - the variable's name in the expression
        source: str,
        subject: str | None,
        headers: Mapping[str, str],
        more: Mapping[str, Any] | None = None,
        *,
        tenant: str | None = None,
    ) -> Verdict:
        """Decide about an event, whose data is JSON as a parser has read it (nesting up to 1,000).

        `tenant` is null where there is none. `more` are the values of the variables that the expression
        was compiled with beside the event's.
        """
        context = {"type": type, "source": source, "tenant": tenant, "subject": subject, **(more or {})}
        for name, value in (("data", data), ("headers", headers)):
            if name in self._members:
                context[name] = _cut(value, self._members[name])
        try:
            return Matched() if _decide(self._program, context) else self._filtered(context)
        except _UndecidedError as error:
            return self._broken(context, str(error))

    def _filtered(self, context: dict[str, Any]) -> Filtered:
        """Name the first clause that is false; in CEL a false clause outweighs one that fails."""
        if len(self._clauses) == 1:
            return Filtered(self._clauses[0].text, self._clauses[0].value(context))
        for clause in self._clauses:
            try:
                holds = _decide(clause.program, context)
            except _UndecidedError:
                continue
            if not holds:
                return Filtered(clause.text, clause.value(context))
        return Filtered(self.text, None)

    def _broken(self, context: dict[str, Any], reason: str) -> Broken:
        for clause in self._clauses:
            try:
                _decide(clause.program, context)
            except _UndecidedError as error:
                return Broken(clause.text, clause.value(context), str(error))
        return Broken(self.text, None, reason)


def compile_where(text: str, more: tuple[str, ...] = ()) -> Where:
    """Compile an expression; `more` are variables that it may use beside the event's.

    Raises:
        DefinitionError: it isn't CEL, or it names a variable or function that doesn't exist here; the
            sentence says at which line and column.
    """
    program = _compile(text)
    _check_names(text, program, (*VARIABLES, *more))
    clauses = tuple(_clause(clause) for clause in cel_text.conjuncts(text))
    return Where(text, program, clauses, _members(cel_text.paths(text, _CUT)))


def _compile(text: str) -> cel.Program:
    try:
        return _program(text)
    except ValueError as error:
        found = _PARSE_PLACE.search(str(error))
        line, column, message = found.groups() if found else ("1", "1", str(error))
        message = message.partition(" expecting {")[0]
        raise DefinitionError(
            f"where {text!r} is no CEL at line {line}, column {column}: {message}", hint=_HINT
        ) from None


def _program(text: str) -> cel.Program:
    import cel  # noqa: PLC0415 - it imports a terminal library: 0.1 s that only users of `where` should pay

    return cel.compile(text)


def _check_names(text: str, program: cel.Program, variables: tuple[str, ...]) -> None:
    bound = cel_text.bound_names(text)
    for name in program.variables():
        if name not in variables and name not in _TYPE_NAMES and name not in bound:
            raise _unknown(text, "variable", name, variables)
    for name in program.functions():
        if _NAME.fullmatch(name) and name not in FUNCTIONS:
            raise _unknown(text, "function", name, sorted(FUNCTIONS))


def _unknown(text: str, kind: str, name: str, known: Iterable[str]) -> DefinitionError:
    line, column = cel_text.place_of(text, name)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it knows the {kind}s {', '.join(known)}"
    return DefinitionError(
        f"where {text!r} names an unknown {kind} {name!r} at line {line}, column {column}", hint=hint
    )


def _clause(text: str) -> _Clause:
    looked_at = cel_text.paths(text, VARIABLES)
    sides = cel_text.operands(text) or ()
    shown = next((side for side in sides if cel_text.paths(side, VARIABLES)), None)
    if shown and _PLAIN_PATH.fullmatch(shown):
        looked_at, shown = cel_text.paths(shown, VARIABLES), None
    program = _program(shown) if shown else None
    return _Clause(text, _program(text), program, looked_at[0] if looked_at else None)


@dataclass(frozen=True, slots=True)
class _Tree:
    """Members of a map that are handed on; None stands for a member with all that is below it."""

    members: dict[str, _Tree | None]


def _members(paths: list[tuple[str, cel_text.Path]]) -> dict[str, _Tree | None]:
    return {name: _tree([path for owner, path in paths if owner == name]) for name, _ in paths}


def _tree(paths: list[cel_text.Path]) -> _Tree | None:
    if () in paths:
        return None
    names = {path[0] for path in paths}
    return _Tree({name: _tree([path[1:] for path in paths if path[0] == name]) for name in names})


def _cut(value: Any, tree: _Tree | None) -> Any:
    if tree is None or not isinstance(value, dict):
        return value
    return {name: _cut(value[name], below) for name, below in tree.members.items() if name in value}


def _decide(program: cel.Program, context: dict[str, Any]) -> bool:
    try:
        result = program.execute(context)
    except Exception as error:
        raise _UndecidedError(_reason(error)) from error
    if not isinstance(result, bool):
        raise _UndecidedError(f"it gives {_kind(result)}, not true or false")
    return result


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no member {error.args[0]!r}"
    if undefined := _UNDEFINED.search(str(error)):
        return f"{undefined[1]!r} isn't defined for this value"
    if isinstance(error, TypeError):
        return "its operator isn't defined for values of these types"
    return str(error).partition(". Check ")[0].partition("\n")[0] or type(error).__name__


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {
        str: "a string",
        list: "a list",
        dict: "a map",
        bytes: "bytes",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), type(value).__name__)


def _resolve(context: dict[str, Any], path: tuple[str, cel_text.Path] | None) -> Any:
    value: Any = None if path is None else context.get(path[0])
    for name in path[1] if path else ():
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _presentable(value: Any) -> Any:
    """Return a value as JSON; what is longer than a kilobyte becomes the beginning of its text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        text = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, orjson.JSONEncodeError):
        text = orjson.dumps(repr(value).encode("utf-8", "replace").decode())
    if len(text) <= _MAX_VALUE_BYTES:
        return orjson.loads(text)
    return text[:_MAX_VALUE_BYTES].decode("utf-8", "ignore") + "…"
