"""Runs the commands of a Markdown page, so that what a newcomer copies is what has been tried.

A fenced block is run where a comment, which readers of the rendered page don't see, stands before it:

    <!-- run -->                         run it; it must exit with 0
    <!-- run: background, ready URL -->  start it, and go on when the URL answers with 200
    <!-- run: until TEXT -->             run it again and again until it prints TEXT, half a minute at most

Each block is bash, with a lone dollar sign as prompt allowed; `cd` and variables carry over from one
block to the next. Background blocks get SIGINT at the end, in reverse order, and must exit with 0 or 130.

Uses the standard library only: it runs with the interpreter of an environment that holds the product alone.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

MARKED = re.compile(
    r"^<!-- run(?:: (?P<how>[^\n]+?))? -->\n+```(?:console|bash|sh|shell)\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
READY_SECONDS = 30.0
UNTIL_SECONDS = 30.0
STEP_SECONDS = 120.0
STOP_SECONDS = 20.0


class FailedBlockError(Exception):
    """A block didn't do what the page promises."""


@dataclass(frozen=True)
class Block:
    """A block of commands and how it is to be run."""

    text: str
    how: str = ""


def blocks(page: str) -> list[Block]:
    """Return the marked blocks of a page."""
    return [Block(_commands(match["text"]), match["how"] or "") for match in MARKED.finditer(page)]


def _commands(text: str) -> str:
    return re.sub(r"^\$ ", "", text, flags=re.MULTILINE)


@dataclass
class Shell:
    """Runs blocks one after the other in a folder; `cd` and variables are kept between them."""

    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    state: Path = field(init=False)

    def __post_init__(self) -> None:
        self.state = Path(tempfile.mkstemp(prefix="shell-", suffix=".sh")[1])

    def run(self, block: Block) -> None:
        """Run one block the way its mark says."""
        word, _, rest = block.how.partition(" ")
        if not word:
            self._once(block.text)
        elif word == "until":
            self._until(block.text, rest)
        elif word == "background," and rest.startswith("ready "):
            self._background(block.text, rest.removeprefix("ready "))
        else:
            raise FailedBlockError(f"unknown mark: {block.how!r}")

    def stop(self) -> list[int]:
        """Interrupt what runs in the background, last started first, and return the exit codes."""
        codes = []
        while self.running:
            process = self.running.pop()
            process.send_signal(signal.SIGINT)
            try:
                codes.append(process.wait(STOP_SECONDS))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append(process.wait())
        return codes

    def _script(self, text: str, *, keep: bool) -> list[str]:
        head = f"cd '{self.folder}'; set -a; . '{self.state}'; set +a; set -euo pipefail\n"
        tail = f"\n{{ declare -x; printf 'cd %q\\n' \"$PWD\"; }} > '{self.state}'" if keep else ""
        return ["bash", "-c", f"{head}{text}{tail}"]

    def _once(self, text: str) -> str:
        done = subprocess.run(
            self._script(text, keep=True),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=STEP_SECONDS,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        sys.stdout.write(output)
        if done.returncode:
            raise FailedBlockError(f"exit code {done.returncode} of:\n{text}")
        return output

    def _until(self, text: str, wanted: str) -> None:
        deadline = time.monotonic() + UNTIL_SECONDS
        while wanted not in self._once(text):
            if time.monotonic() > deadline:
                raise FailedBlockError(f"{wanted!r} didn't appear in the output of:\n{text}")
            time.sleep(0.5)

    def _background(self, text: str, url: str) -> None:
        lines = text.strip().splitlines()
        command = "\n".join([*lines[:-1], f"exec {lines[-1]}"])
        process = subprocess.Popen(self._script(command, keep=False), stdin=subprocess.DEVNULL)
        self.running.append(process)
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(url):
            if process.poll() is not None:
                raise FailedBlockError(f"exit code {process.returncode}, no answer at {url}, of:\n{text}")
            if time.monotonic() > deadline:
                raise FailedBlockError(f"no answer at {url} from:\n{text}")
            time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def run_page(page: str, folder: Path) -> int:
    """Run a page's marked blocks in a folder and return how many there were.

    Raises:
        FailedBlockError: one of them failed, none is marked, or a background block ended badly.
    """
    found = blocks(page)
    if not found:
        raise FailedBlockError("the page has no block that is marked to be run")
    shell = Shell(folder)
    try:
        for block in found:
            sys.stdout.write(f"+ {block.text}")
            sys.stdout.flush()
            shell.run(block)
    finally:
        codes = shell.stop()
    if any(code not in (0, 130) for code in codes):
        raise FailedBlockError(f"background blocks ended with {codes}")
    return len(found)


def main(path: str) -> int:
    """Run the page at a path in a fresh folder; the exit code says whether everything went as it says."""
    with tempfile.TemporaryDirectory(prefix="quickstart-") as folder:
        try:
            count = run_page(Path(path).read_text(encoding="utf-8"), Path(folder))
        except FailedBlockError as error:
            sys.stdout.write(f"quick start failed: {error}\n")
            return 1
    sys.stdout.write(f"quick start: {count} blocks ran\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
