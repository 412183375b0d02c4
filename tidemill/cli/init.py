"""`tidemill init`: a settings file, a handler module with its test, a signing secret and a `.gitignore`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Final

import typer

from tidemill.cli.output import Json, say, show_json
from tidemill.kernel.errors import ConflictError

app = typer.Typer()
SECRET: Final = ".secrets/github"

SETTINGS: Final = """\
# Settings of Tidemill. Every key is also a variable: TIDEMILL_GATEWAY__LISTEN, TIDEMILL_WORKER__SLOTS.

[gateway]                                 # the public side: webhooks
listen = "127.0.0.1:8080"

[control]                                 # the private side: API and metrics
listen = "127.0.0.1:8081"

[nats]
url = "embedded"                          # or nats://a:4222,nats://b:4222
data_dir = ".tidemill"

[sources.github]                          # POST /webhooks/github
preset = "github"
secrets = ["file:.secrets/github"]        # the same text goes into GitHub's field "Secret"
"""

TASKS: Final = '''\
"""Tasks: plain functions that Tidemill runs. Serve them with `tidemill dev tasks.py`."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill import Retry, task


@dataclass
class Push:
    """What the task below needs of GitHub's push event."""

    ref: str
    after: str


@task(on="github.push", retry=Retry(max_attempts=5, min_delay=1, max_delay=60))
async def announce(push: Push) -> str:
    """Say which branch moved to which commit."""
    branch = push.ref.removeprefix("refs/heads/")
    return f"{branch} is now at {push.after[:7]}"
'''

TEST: Final = '''\
"""A task is a plain function: its test calls it."""

from __future__ import annotations

import asyncio

from tasks import Push, announce


def test_a_push_is_announced() -> None:
    push = Push(ref="refs/heads/main", after="6113728f27ae82c7b1a177c8d03f9e96e0adf246")
    assert asyncio.run(announce(push)) == "main is now at 6113728"
'''

IGNORED: Final = ".tidemill/\n.secrets/\n__pycache__/\n"


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder to write into.")] = Path(),
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files that exist, the secret excepted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a project that works: settings, a task with its test, a secret, a .gitignore."""
    written = scaffold(folder, force=force)
    if as_json:
        show_json({"written": [str(path) for path in written]})
        return
    for path in written:
        say(f"wrote {path}")
    say(_next(folder))


def scaffold(folder: Path, *, force: bool = False) -> list[Path]:
    """Write the project's files and return their paths.

    Raises:
        ConflictError: one of them exists and `force` is off; nothing is written then.
    """
    files = {
        "tidemill.toml": SETTINGS,
        "tasks.py": TASKS,
        "test_tasks.py": TEST,
        ".gitignore": IGNORED,
        SECRET: secrets.token_hex(32) + "\n",
    }
    existing = [name for name in files if (folder / name).exists()]
    if existing and not force:
        raise ConflictError(
            f"{folder.absolute()} has {', '.join(existing)} already",
            hint="name another folder, or overwrite them with --force",
        )
    if SECRET in existing:
        del files[SECRET]  # a sender may use it already
    return [_write(folder / name, text, private=name == SECRET) for name, text in files.items()]


def _write(path: Path, text: str, *, private: bool) -> Path:
    """Write a file; a private one is readable by its owner only, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if private:
        path.parent.chmod(0o700)
        path.touch(mode=0o600)
        path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _next(folder: Path) -> str:
    steps = ["tidemill dev tasks.py", "tidemill send github push     (in a second terminal)"]
    if folder != Path():
        steps.insert(0, f"cd {folder}")
    return "\nnext:\n" + "\n".join(f"  {step}" for step in steps)
