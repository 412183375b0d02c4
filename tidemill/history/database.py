"""Opening the history's database: SQLite or PostgreSQL, brought to this version's schema under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError

from tidemill.history.tables import facts
from tidemill.kernel.errors import HistoryError, PayloadError, SettingsError
from tidemill.kernel.settings.model import Settings

__all__ = ["Database", "is_outdated", "locate", "open_database"]

_SQLITE: Final = "sqlite"
_WRITER_NUMBER: Final = 7_483_021_595
_BUSY_SECONDS: Final = 30.0
_LOCK_NUMBER: Final = 7_483_021_594
"""PostgreSQL's advisory lock for migrations; the number means nothing."""
_PAGES: Final = -64_000
"""SQLite's cache: negative, so kibibytes."""
_INSTRUCTIONS: Final = 20_000
"""How many steps of SQLite's machine pass between two looks at the clock."""
_LOG_PAGES: Final = 4_000
"""How long the log of SQLite gets until it is brought into the file, a page that was written often once."""
_CONNECTIONS: Final = 8


class Database:
    """An open database; `id` is its own, made with it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.id = ""
        self._held: contextlib.ExitStack = contextlib.ExitStack()
        self._inode = 0
        self._writer = engine.execution_options(tidemill_writes=True)

    @property
    def sqlite(self) -> bool:
        """Whether it is a file."""
        return self.engine.dialect.name == _SQLITE

    @property
    def place(self) -> str:
        """Where it is, without a password."""
        return self.engine.url.render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(str(self.engine.url.database)) if self.sqlite else None

    @contextmanager
    def reading(self, seconds: float) -> Iterator[Connection]:
        """Yield a connection on which a statement is given up after so many seconds.

        Raises:
            HistoryError: the database is away, or took too long.
            PayloadError: a value that was asked for can't stand in the database at all.
        """
        with translated(), self.engine.connect() as connection:
            restore = _limit(connection, seconds)
            try:
                yield connection
            except DataError as error:
                raise PayloadError(f"that can't be asked for: {error.orig}", hint="mend the value") from error
            finally:
                connection.rollback()
                restore()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that is committed at the end.

        Raises:
            HistoryError: the database is away, full or busy; nothing was written.
        """
        with translated(), self._writer.begin() as connection:
            yield connection

    def claim(self) -> bool:
        """Lock the database for its one writer, until it is closed; return whether that was possible.

        Raises:
            HistoryError: the database can't be used.
        """
        if self.file is not None:
            file = self.file.with_name(self.file.name + ".writer").open("w")
            self._held.callback(file.close)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True
        with translated():
            connection = self._held.enter_context(self.engine.connect())
            taken = connection.execute(text(f"SELECT pg_try_advisory_lock({_WRITER_NUMBER})")).scalar_one()
            connection.commit()
        return bool(taken)

    def settle(self) -> None:
        """Remember which file this is, now that there is one."""
        if self.file is not None:
            self._inode = self.file.stat().st_ino

    @property
    def gone(self) -> bool:
        """Whether the file that was opened stands there no more, or another one does."""
        try:
            return self.file is not None and self.file.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def close(self) -> None:
        """Close all connections, and unlock."""
        with contextlib.suppress(DBAPIError):
            self._held.close()
        self.engine.dispose()


def locate(settings: Settings) -> URL:
    """Return where the settings want the history, ready for the driver.

    Raises:
        SettingsError: the secret can't be resolved, or it is no URL of a database.
    """
    given = settings.history.url.resolve(settings.inputs.environ).reveal()
    try:
        url = make_url(given)
    except ArgumentError as error:
        raise SettingsError("history.url is no URL of a database", hint=_HINT) from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != _SQLITE or not url.database:
        raise SettingsError(f"history.url is for {url.get_backend_name()!r}", hint=_HINT)
    return url.set(
        drivername="sqlite+pysqlite", database=str(settings.inputs.file.parent / Path(url.database))
    )


_HINT: Final = "write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"


def open_database(url: URL, *, create: bool = True) -> Database:
    """Open a database; with `create` make it first, or bring it to this version's schema.

    Raises:
        HistoryError: it can't be reached or used, or a newer version of the product has made it.
    """
    if url.get_backend_name() == _SQLITE:
        path = Path(str(url.database))
        if create:
            _make_folder(path.parent)
        elif not path.exists():
            raise HistoryError(
                f"there is no history at {path} yet", hint="the engine's role `history` makes it"
            )
    database = Database(_engine(url))
    try:
        with translated():
            if create:
                with _lock(database):
                    _upgrade(database)
            else:
                _check(database)
            database.settle()
            database.id = _id(database)
    except BaseException:
        database.close()
        raise
    return database


def is_outdated(url: URL) -> bool:
    """Say whether a database has the schema of an older version.

    Raises:
        HistoryError: it can't be used, or a newer version has made it.
    """
    database = Database(_engine(url))
    try:
        with translated(), database.engine.connect() as connection:
            _, script = _script()
            return _present(connection, script, database) not in {None, script.get_current_head()}
    finally:
        database.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HistoryError(f"{folder} can't be made: {error}", hint="check history.url") from error


def _engine(url: URL) -> Engine:
    options: dict[str, Any] = {"pool_size": _CONNECTIONS, "max_overflow": 2, "pool_timeout": 5.0}
    if url.get_backend_name() == _SQLITE:
        options["connect_args"] = {"timeout": _BUSY_SECONDS, "check_same_thread": False}
    else:
        options["pool_pre_ping"] = True
        options["connect_args"] = {"connect_timeout": 5, "application_name": "tidemill history"}
    try:
        engine = create_engine(url, **options)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise HistoryError(
            f"the driver of {url.get_backend_name()} is missing: {error}",
            hint="pip install 'psycopg[binary]'",
        ) from error
    if url.get_backend_name() == _SQLITE:
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    """Set a new SQLite connection up.

    `isolation_level` None leaves transactions to `_begin`: the standard library's own would begin late, in
    the middle of a transaction that has read already. WAL lets readers and the writer go on side by side;
    with `synchronous` NORMAL a power cut may take the last transactions, each as a whole with its position.
    """
    connection.isolation_level = None
    for statement in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        f"cache_size = {_PAGES}",
        "temp_store = MEMORY",
        "mmap_size = 268435456",
        "journal_size_limit = 67108864",
        f"wal_autocheckpoint = {_LOG_PAGES}",
    ):
        connection.execute(f"PRAGMA {statement}").close()


def _begin(connection: Connection) -> None:
    # Who is going to write takes the lock at once: with what it has read before, it might be too late.
    writes = connection.get_execution_options().get("tidemill_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _limit(connection: Connection, seconds: float) -> Any:
    """Let statements of a connection end after so many seconds; return what takes that back."""
    if connection.dialect.name != _SQLITE:
        connection.execute(text(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}"))
        return lambda: None
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS)
    return lambda: driver.set_progress_handler(None, 0)


def unfit(error: Exception) -> bool:
    """Say whether a database is well, and refused what it was given: a value too long, or of another kind."""
    cause = error.__cause__ if isinstance(error, HistoryError) else error
    if isinstance(cause, DBAPIError):
        state = str(getattr(cause.orig, "sqlstate", None) or "")
        return isinstance(cause, DataError) or state.startswith(_UNFIT)
    return isinstance(cause, OverflowError | UnicodeError)


_UNFIT: Final = ("22", "54")
"""PostgreSQL's classes of errors: data exceptions, and limits of the program that were exceeded."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise what a database says as an error of the product.

    Raises:
        HistoryError: the database is away, full, busy, broken or too slow.
    """
    try:
        yield
    except IntegrityError:
        raise  # what is there already is the writer's business
    except DBAPIError as error:
        said = str(error.orig).strip().splitlines()
        slow = "interrupted" in str(error.orig) or "statement timeout" in str(error.orig)
        if slow:
            raise HistoryError(
                "the history took too long to answer", hint="ask for a shorter time, or for fewer filters"
            ) from error
        raise HistoryError(
            f"the history's database can't be used: {said[0] if said else type(error.orig).__name__}",
            hint="runs go on without it; see docs/history.md",
        ) from error


@contextmanager
def _lock(database: Database) -> Iterator[None]:
    """Let one process at a time change the schema."""
    if database.file is not None:
        name = database.file.with_name(database.file.name + ".lock")
        with name.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    with database.engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({_LOCK_NUMBER})"))
        try:
            yield
        finally:
            with contextlib.suppress(DBAPIError):
                connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK_NUMBER})"))


def _script() -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config, ScriptDirectory.from_config(config)


def _upgrade(database: Database) -> None:
    """Bring the schema to this version's.

    Raises:
        HistoryError: it is a newer version's.
    """
    config, script = _script()
    with database.engine.connect() as connection:
        present = _present(connection, script, database)
        if present == script.get_current_head():
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def _present(connection: Connection, script: ScriptDirectory, database: Database) -> str | None:
    present = MigrationContext.configure(connection).get_current_revision()
    try:
        known = present is None or script.get_revision(present) is not None
    except CommandError:
        known = False
    if not known:
        raise HistoryError(
            f"{database.place} has schema {present!r}, which this version doesn't know",
            hint="a newer version has made it: upgrade this one, or name another database in history.url",
        )
    return present


def _check(database: Database) -> None:
    _, script = _script()
    with database.engine.connect() as connection:
        present = _present(connection, script, database)
    if present != script.get_current_head():
        raise HistoryError(
            f"{database.place} has the schema of an older version",
            hint="start the engine's role `history`, which brings it up to date",
        )


def _id(database: Database) -> str:
    """Return the database's id, made where it has none."""
    with database.engine.begin() as connection:
        found = connection.execute(select(facts.c.value).where(facts.c.name == "id")).scalar_one_or_none()
        if found is not None:
            return str(found)
        made = secrets.token_hex(8)
        connection.execute(facts.insert().values(name="id", value=made))
        return made
