"""What commands print: a table for people, one JSON document for programs, never anything in between.

Values come from strangers' webhooks: control characters in them are written as escapes, so that no
payload can move the cursor or colour the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tidemill.kernel.errors import TidemillError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Row = Mapping[str, Any]
_PLAIN_WIDTH: Final = 240
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def show_rows(rows: Iterable[Row], *, columns: Sequence[str], as_json: bool, empty: str = "nothing") -> None:
    """Print records: JSON with everything they hold, or a table of the named columns.

    Args:
        rows: the records.
        columns: keys to show, in their order; the heading is the key with spaces for underscores.
        as_json: print a JSON list.
        empty: what to say instead of a table without rows.
    """
    found = list(rows)
    if as_json:
        show_json(found)
    elif found:
        say(_table(found, columns))
    else:
        say(empty)


def show_record(record: Row, *, as_json: bool) -> None:
    """Print one record: JSON, or a line for each of its keys that has a value."""
    if as_json:
        show_json(record)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in record.items():
        if value is not None:
            grid.add_row(_heading(key), cell(value))
    say(grid)


def show_json(document: object) -> None:
    """Print one JSON document on standard output."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(document, default=str, option=options).decode())


def say(what: str | Table | Text) -> None:
    """Print text or a table on standard output; text is never read as markup."""
    _console(sys.stdout).print(Text(printable(what)) if isinstance(what, str) else what)


def more_of(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Say how a listing goes on, where there may be more and a person reads it."""
    if found["next"] is not None and not as_json:
        say(f"there may be more: --before {found['next']}")


def complain(error: TidemillError) -> None:
    """Print an error and what to do about it on standard error."""
    text = Text.assemble(("error: ", "bold red"), printable(error.sentence))
    if error.hint:
        text.append("\nhint: ", "bold")
        text.append(printable(error.hint))
    _console(sys.stderr).print(text)


def shown_width() -> int:
    """Return how many columns standard output has: a terminal's, or the width of what goes into a pipe."""
    return _console(sys.stdout).width


def shows_unicode() -> bool:
    """Say whether standard output takes more than ASCII."""
    return (sys.stdout.encoding or "ascii").lower().startswith("utf")


def cell(value: object) -> Text:
    """Return a value as it stands in a table."""
    if value is None:
        return Text()
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, datetime):
        return Text(value.isoformat(sep=" ", timespec="milliseconds"))
    if isinstance(value, Mapping | list | tuple):
        return Text(printable(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()))
    return Text(printable(str(value)))


def printable(text: str) -> str:
    """Return text whose control characters, newline and tab excepted, are written as escapes."""
    return text.translate(_CONTROL)


def _table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(_heading(column), overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    return table


def _heading(key: str) -> str:
    return key.replace("_", " ")


def _console(stream: Any) -> Console:
    """Return a console that is wide where nobody looks: text in a pipe isn't cut to a terminal's width."""
    return Console(file=stream, width=None if stream.isatty() else _PLAIN_WIDTH, highlight=False)
