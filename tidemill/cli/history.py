"""`tidemill history`: how far the history is, and what may be done with its database."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tidemill.cli.invocation import invocation
from tidemill.cli.options import examples
from tidemill.cli.output import Json, Row, say, show_record, show_rows
from tidemill.cli.working import working
from tidemill.kernel.errors import NotFoundError, SettingsError

if TYPE_CHECKING:
    from tidemill.history.database import Database
    from tidemill.kernel.services.broker import Broker

app = typer.Typer(name="history", help="Look after the database of what has happened.", no_args_is_help=True)
Found = TypeVar("Found")
_SECONDS = 30.0
_COLUMNS = ("name", "lag", "left_out", "seen", "place")


@app.command("status", epilog=examples("history status", "history status --json"))
def status(context: typer.Context, *, as_json: Json = False) -> None:
    """Show how far each history is behind the streams, and how large this one is."""
    from tidemill.history.measures import measure  # noqa: PLC0415 - the database's driver delays --help

    notes = _ask_broker(context, _notes)
    sizes: dict[str, Any] = {}
    with contextlib.suppress(NotFoundError), _opened(context) as database:
        sizes = measure(database)
    if as_json:
        show_record({"histories": notes, "database": sizes}, as_json=True)
        return
    show_rows(notes, columns=_COLUMNS, as_json=False, empty="no history is written")
    if sizes:
        say("")
        show_record(sizes, as_json=False)


@app.command("rebuild", epilog=examples("history rebuild --yes"))
def rebuild(
    context: typer.Context,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: Json = False,
) -> None:
    """Empty the history and let it be written again from what the streams still have.

    What the streams don't have any more is gone then: make a backup first.
    """
    from tidemill.history import copying  # noqa: PLC0415 - the database's driver delays --help

    with _opened(context) as database:
        if not yes:
            typer.confirm(f"Empty {database.place}?", abort=True, err=True)
        # The note first, so that no journal is closed meanwhile that only the old content had.
        with working("emptying the history"):
            _note(context, database, {})
            copying.rebuild(database)
    _tell("emptied; the engine's role `history` writes it again", {"emptied": True}, as_json=as_json)


@app.command("backup", epilog=examples("history backup monday.db"))
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that doesn't exist yet.")],
    *,
    as_json: Json = False,
) -> None:
    """Copy the history into a file, as of one moment, while it is being written."""
    from tidemill.history import copying  # noqa: PLC0415 - the database's driver delays --help

    with _opened(context) as database, _progress() as report:
        copying.backup(database, file, report)
    size = file.stat().st_size
    _tell(f"{file}: {size:,} bytes", {"file": str(file), "bytes": size}, as_json=as_json)


@app.command("restore", epilog=examples("history restore monday.db --yes"))
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `history backup` has written.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: Json = False,
) -> None:
    """Put a backup in the place of the history, which nobody may be writing.

    A backup of SQLite may be restored into PostgreSQL, and the other way round.
    """
    from tidemill.history import copying  # noqa: PLC0415 - the database's driver delays --help
    from tidemill.history.overview import where_it_stands  # noqa: PLC0415 - the same

    with _opened(context, create=True) as database, _progress() as report:
        if not yes:
            typer.confirm(f"Replace {database.place} by {file}?", abort=True, err=True)
        copying.restore(database, file, report)
        with database.reading(_SECONDS) as connection:
            stands = {position.stream: position.seq for position in where_it_stands(connection)}
        _note(context, database, stands)
    sentence = "restored; the engine's role `history` goes on from where the backup ends"
    _tell(sentence, {"restored": str(file)}, as_json=as_json)


@app.command("forget", epilog=examples("history forget old-laptop"))
def forget(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `history status` shows it.")],
    *,
    as_json: Json = False,
) -> None:
    """Wait for a history no more that nobody will ever write again. Its database stays as it is."""

    async def drop(broker: Broker) -> bool:
        known = await broker.history.get(name) is not None
        if known:
            await broker.history.delete(name)
        return known

    if not _ask_broker(context, drop):
        raise NotFoundError(f"there is no history {name!r}", hint="`tidemill history status` shows them")
    _tell(f"journals no longer wait for {name}", {"forgotten": name}, as_json=as_json)


def _tell(sentence: str, facts: Row, *, as_json: bool) -> None:
    if as_json:
        show_record(facts, as_json=True)
    else:
        say(sentence)


def _ask_broker(context: typer.Context, question: Callable[[Broker], Awaitable[Found]]) -> Found:
    """Ask the broker of the settings.

    Raises:
        SettingsError: they name a remote installation, which has its own command line.
        BrokerError: the broker can't be reached.
    """
    from tidemill.kernel.services.broker import open_broker  # noqa: PLC0415 - its client delays --help

    settings = invocation(context).settings()
    if settings.client.url is not None:
        raise SettingsError(
            "a history is looked after beside its database, not over HTTP",
            hint="leave --url and client.url away, and use the settings of the engine",
        )

    async def inside() -> Found:
        async with open_broker(settings, name="command", prepare=settings.nats.embedded) as broker:
            return await question(broker)

    return asyncio.run(inside())


def _note(context: typer.Context, database: Database, seqs: dict[str, int]) -> None:
    """Say on the broker how far the history is now; a writer that is at work begins anew."""
    from tidemill.kernel.services.histories import HistoryNote  # noqa: PLC0415 - as above

    note = HistoryNote(
        database=database.id, place=database.place, writer="command", at=time.time(), released=True, seqs=seqs
    )

    async def put(broker: Broker) -> None:
        await broker.history.put(invocation(context).settings().history.name, note.pack())

    _ask_broker(context, put)


async def _notes(broker: Broker) -> list[Row]:
    """Return the histories' notes, each with the messages that it hasn't taken in yet."""
    from tidemill.kernel.services.histories import all_notes, lag  # noqa: PLC0415 - as above

    return [
        {
            "name": name,
            "lag": await lag(broker.bus, note),
            "left_out": note.left_out,
            "seen": f"{max(0.0, time.time() - note.at):.0f} s ago",
            "place": note.place,
            "database": note.database,
            "positions": note.seqs,
        }
        for name, note in sorted((await all_notes(broker.history)).items())
    ]


@contextlib.contextmanager
def _opened(context: typer.Context, *, create: bool = False) -> Iterator[Database]:
    """Open the database of the settings.

    Raises:
        NotFoundError: there is none yet.
        HistoryError: it can't be used.
    """
    from tidemill.history.database import locate, open_database  # noqa: PLC0415 - its driver delays --help

    url = locate(invocation(context).settings())
    if not create and url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise NotFoundError(
            f"there is no history at {url.database}", hint="the engine's role `history` makes it"
        )
    database = open_database(url, create=create)
    try:
        yield database
    finally:
        database.close()


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    """Yield what shows how much has been copied, on a terminal."""
    with working("copying") as tell:
        yield lambda what, count: tell(f"copying {what}: {count:,}")
