"""The examples run as their pages say: their own tests, and on a real mill."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.patience import until_seen

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
TIDEMILL: Final = (sys.executable, "-m", "tidemill.cli.main")
PATIENCE: Final = 40.0
CACHE: Final = Path(__file__).parents[2] / ".mypy_cache" / "examples"
CONTROL: Final = r"control API +(http://\S+)/api/v1"
TESTS: Final = {
    "document_pipeline": 5,
    "github_issues": 6,
    "harbour_agent": 6,
    "harbour_report": 5,
    "order_saga": 9,
    "purchase_approval": 4,
}


def environment(**more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}  # noqa: TID251 - children's
    return own | {"GITHUB_WEBHOOK_SECRET": "s3cret", "PYTHONUNBUFFERED": "1", **more}


@pytest.fixture
def issues(tmp_path: Path) -> Path:
    """A copy of the example, as a user would make it."""
    return Path(shutil.copytree(EXAMPLES / "github_issues", tmp_path / "github_issues"))


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_every_example_has_a_page_settings_and_tests(name: str) -> None:
    files = {path.name for path in (EXAMPLES / name).iterdir()}
    assert {"README.md", "tidemill.toml", "tasks.py", "test_tasks.py"} <= files
    assert name in TESTS


@pytest.mark.parametrize(("name", "count"), TESTS.items())
def test_its_own_tests_pass(name: str, count: int, tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / name, tmp_path / name)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout
    assert f"{count} passed" in done.stdout


@pytest.mark.parametrize("name", TESTS)
def test_its_types_are_right(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / name, tmp_path / name)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={CACHE}"]
    files = ["tasks.py", "test_tasks.py"]
    done = subprocess.run(
        [*command, *files], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout


class GitHub(BaseHTTPRequestHandler):
    """Takes comments; the first one meets the rate limit."""

    comments: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.comments.append((self.path, body))
        limited = len(self.comments) == 1
        answer = b"{}" if limited else b'{"html_url": "https://github.com/comment/1"}'
        self.send_response(429 if limited else 201)
        if limited:
            self.send_header("retry-after", "0.2")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Keep the output clean."""


@pytest.fixture
def github() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Stands for GitHub's API; yields its URL and the comments that it was sent."""
    comments: list[tuple[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Fresh", (GitHub,), {"comments": comments}))
    thread = threading.Thread(target=server.serve_forever, name="stands for GitHub")
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", comments
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE)


@contextlib.contextmanager
def developing(folder: Path, environ: dict[str, str]) -> Iterator[Callable[[str], str]]:
    """Run `tidemill dev`; yields a function that waits for a line of its output."""
    process = subprocess.Popen(
        [*TIDEMILL, "dev", "tasks.py", "--port", "0", "--no-reload"],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output, arrivals, seen = process.stdout, queue.SimpleQueue[str](), list[str]()
    reader = threading.Thread(target=lambda: [arrivals.put(line) for line in output], name="read dev")
    reader.start()

    def wait_for(pattern: str) -> str:
        while True:
            seen.append(arrivals.get(timeout=PATIENCE))
            if found := re.search(pattern, seen[-1]):
                return found[1]

    try:
        yield wait_for
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE)
        reader.join(PATIENCE)
        output.close()
    assert code == 0, seen


@pytest.mark.integration
def test_an_issue_is_thanked_for_and_recorded(
    issues: Path, github: tuple[str, list[tuple[str, Any]]]
) -> None:
    url, comments = github
    environ = environment(GITHUB_API=url)

    def tidemill(*words: str) -> Any:
        command = [*TIDEMILL, *words, "--json"]
        done = subprocess.run(
            command, cwd=issues, env=environ, capture_output=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with developing(issues, environ) as wait_for:
        public = wait_for(r"--to (http://\S+)")
        tidemill("send", "github", "issues.opened", "--to", public)
        deadline = time.monotonic() + PATIENCE
        while len(done := tidemill("runs", "list", "--status", "completed")) < 2:
            assert time.monotonic() < deadline, tidemill("runs", "list")
            time.sleep(0.1)
    assert {run["task"]: run["attempt"] for run in done} == {"thank": 2, "record": 1}
    assert [path for path, _ in comments] == ["/repos/saltmarsh-works/tide-tables/issues/118/comments"] * 2
    assert comments[0][1]["body"].startswith("Thank you, @tomas-brandt!")
    with contextlib.closing(sqlite3.connect(issues / "issues.db")) as database:
        assert database.execute("SELECT number, state FROM issues").fetchall() == [(118, "open")]


class Office(BaseHTTPRequestHandler):
    """Does whatever it is asked for, and remembers it."""

    asked: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append((self.path, body))
        answer = json.dumps({"id": f"{self.path[1:]}-1"}).encode()
        self.send_response(201)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Keep the output clean."""


@contextlib.contextmanager
def office() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    asked: list[tuple[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Fresh", (Office,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, name="stands for the office")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


@pytest.mark.integration
def test_two_people_approve_of_a_purchase_on_a_real_mill(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EXAMPLES / "purchase_approval", tmp_path / "purchase_approval"))
    wish = {"item": "a dinghy", "price": 1900, "asked_by": "dora"}
    with office() as (url, asked):
        environ = environment(OFFICE_URL=url)

        def tidemill(*words: str) -> Any:
            command = [*TIDEMILL, *words, "--json"]
            done = subprocess.run(
                command, cwd=folder, env=environ, capture_output=True, timeout=PATIENCE, check=False
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        with developing(folder, environ) as wait_for:
            control = wait_for(CONTROL)
            until_seen(lambda: "purchase" in str(tidemill("tasks", "list")))
            run = tidemill("trigger", "purchase", "--payload", json.dumps(wish))["run_id"]
            deadline = time.monotonic() + PATIENCE
            while tidemill("runs", "show", run)["status"] != "waiting":
                assert time.monotonic() < deadline, tidemill("runs", "show", run)
                time.sleep(0.1)
            for person in ("ann", "cleo"):
                document = {"by": person, "data": {"cost_centre": "boats"}}
                httpx.post(
                    f"{control}/api/v1/tokens/{run}.purchase/complete", json=document, timeout=PATIENCE
                ).raise_for_status()
            while (seen := tidemill("runs", "show", run))["status"] != "completed":
                assert time.monotonic() < deadline, seen
                time.sleep(0.1)
    assert seen["result"] == {"state": "ordered", "by": "cleo", "comment": ""}
    assert [path for path, _ in asked] == ["/reservations", "/messages", "/orders"]
    assert asked[2][1] == {"reservation": "reservations-1", "cost_centre": "boats"}
