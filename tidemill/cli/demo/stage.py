"""The demonstration's processes: one `tidemill dev` with broker, gateway and worker, in its own folder."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tidemill.cli.demo.scenes import SOURCES
from tidemill.kernel.errors import TidemillError

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0
TASKS: Final = "tidemill.cli.demo.tasks"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demonstration's listeners are, and the secrets that its providers sign with."""

    public: str
    control: str
    secrets: dict[str, str]
    log: Path


@contextlib.asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Start everything in a folder; stop it again at the end.

    Raises:
        TidemillError: it didn't start; the hint names the log.
    """
    keys = {name: f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}" for name in SOURCES}
    first, second = _free_ports()
    (folder / "tidemill.toml").write_text(_settings(keys, first, second), encoding="utf-8")
    set_up = Stage(f"http://127.0.0.1:{first}", f"http://127.0.0.1:{second}", keys, folder / "dev.log")
    with set_up.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tidemill.cli.main", "dev", "--no-reload", TASKS,
            cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            await _wait_ready(set_up, process)
            yield set_up
        finally:
            await _stop(process)


def _settings(keys: dict[str, str], public: int, control: int) -> str:
    lines = [f'[gateway]\nlisten = "127.0.0.1:{public}"', f'[control]\nlisten = "127.0.0.1:{control}"']
    lines += [
        f'[sources.{name}]\npreset = "{SOURCES[name]}"\nsecrets = ["{key}"]' for name, key in keys.items()
    ]
    return "\n".join(lines) + "\n"


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


async def _wait_ready(set_up: Stage, process: asyncio.subprocess.Process) -> None:
    """Wait until the gateway is ready and all tasks are defined."""
    hint = f"its log is {set_up.log}"
    try:
        async with asyncio.timeout(START_SECONDS), httpx.AsyncClient() as client:
            while not await _ready(client, set_up):
                if process.returncode is not None:
                    tail = "\n".join(set_up.log.read_text(errors="replace").splitlines()[-15:])
                    raise TidemillError(
                        f"tidemill dev ended with code {process.returncode}:\n{tail}", hint=hint
                    )
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TidemillError(f"tidemill dev isn't ready after {START_SECONDS:g} s", hint=hint) from None


async def _ready(client: httpx.AsyncClient, set_up: Stage) -> bool:
    try:
        ready = await client.get(f"{set_up.public}/readyz")
        tasks = await client.get(f"{set_up.control}/api/v1/tasks")
        workers = await client.get(f"{set_up.control}/api/v1/workers")
    except httpx.TransportError:
        return False
    answers = (ready, tasks, workers)
    return all(answer.is_success for answer in answers) and bool(_count(tasks) and _count(workers))


def _count(answer: httpx.Response) -> int:
    document = answer.json()
    rows = next(iter(document.values())) if isinstance(document, dict) else document
    return len(rows)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
