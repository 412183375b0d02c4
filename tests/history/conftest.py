"""Databases for the history's tests: a file, and a PostgreSQL server of our own for the session."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

from tests.conftest import free_port
from tidemill.history.database import Database, open_database

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


class PostgresServer:
    """A PostgreSQL server on a port of its own; as root it runs as `nobody`, since it refuses root."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="tidemill-postgresql-"))
        self.port = free_port()
        self.url = make_url(f"postgresql+psycopg://tidemill@127.0.0.1:{self.port}/postgres")
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        self._run("initdb", "-D", "data", "-U", "tidemill", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def database(self, name: str) -> URL:
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url.set(database=name)

    def _run(self, program: str, *arguments: str) -> None:
        prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        command = [*(prefix if os.geteuid() == 0 else ()), str(self._programs / program), *arguments]
        done = subprocess.run(
            command,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server; where PostgreSQL isn't installed its tests are skipped, in CI they fail."""
    if not _FOLDERS:
        environ = os.environ  # noqa: TID251 - the tests' own switch, nothing of the product's
        if environ.get("CI"):
            pytest.fail("PostgreSQL is missing: apt-get install postgresql")
        pytest.skip("PostgreSQL isn't installed: apt-get install postgresql")
    server = PostgresServer(_FOLDERS[0])
    yield server
    server.remove()


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Where an empty database may be made."""
    return make_url_of(request, tmp_path)


def make_url_of(request: pytest.FixtureRequest, folder: Path) -> URL:
    """Return where an empty database of the kind that a parameter names may be made."""
    if request.param == "sqlite":
        return make_url(f"sqlite+pysqlite:///{folder}/history.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database(f"h{os.urandom(6).hex()}")


@pytest.fixture
def database(url: URL) -> Iterator[Database]:
    """An empty history."""
    opened = open_database(url)
    yield opened
    opened.close()
