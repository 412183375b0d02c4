"""What `tidemill dev` runs: it owns the embedded broker; gateway and worker are child processes."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
import watchfiles
from rich.console import Console
from rich.text import Text

from consumers.process import stop_signals
from gateway.recipes.samples import sample_types
from gateway.sources import recipe_of
from tidemill.cli.child import Child
from tidemill.cli.fleet import patience
from tidemill.cli.keeper import Keeper
from tidemill.kernel.services.broker import open_broker

if TYPE_CHECKING:
    from tidemill.cli.invocation import Invocation
    from tidemill.kernel.settings.model import Settings

_LISTENER = re.compile(r"(public|control) listener on (http://(\S+))")
_COLOURS: Final = {"gateway": "cyan", "worker": "magenta", "dev": "green"}
_SETTLE_MS: Final = 200
"""Editors write a file in several steps: changes so close to each other are one."""
_log = logging.getLogger(__name__)


class Development:
    """Gateway and worker under supervision, their output with prefixes, and a watcher of the code."""

    def __init__(self, call: Invocation, settings: Settings, modules: Sequence[str], *, reload: bool) -> None:
        self._call = call
        self._settings = settings
        self._modules = modules
        self._reload = reload
        self._listen = {"public": str(settings.gateway.listen), "control": str(settings.control.listen)}
        self._urls: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._code = 0

    async def run(self) -> None:
        """Run everything until SIGTERM or SIGINT.

        Raises:
            BrokerError: the broker can't be started or reached.
            typer.Exit: the gateway can't work with its settings; or the worker with its modules, which
                nobody watches.
        """
        time_to_stop = patience(self._settings)
        gateway = Keeper(self._start_gateway, patience=time_to_stop)
        changed = self._changed if self._reload else None
        worker = Keeper(self._start_worker, patience=time_to_stop, changed=changed)
        async with open_broker(self._settings, name="dev"):
            with stop_signals() as stopping:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._keep(gateway, stopping), name="keep the gateway")
                    group.create_task(self._keep(worker, stopping), name="keep the worker")
                    if self._reload:
                        group.create_task(self._watch(stopping), name="watch the code")
        if self._code:
            raise typer.Exit(self._code)

    async def _keep(self, keeper: Keeper, stopping: asyncio.Event) -> None:
        code = await keeper.run(stopping)
        if code:
            self._code = code
            stopping.set()

    async def _start_gateway(self) -> Child:
        return await self._start("gateway", ["gateway"], self._gateway_line)

    async def _start_worker(self) -> Child:
        show = _printer("worker")
        # Here the newest code is what stands in the files, also when a change was taken back.
        words = ["worker", "--kept", "--processes", "1", "--republish", "--", *self._modules]
        return await self._start("worker", words, show)

    async def _start(self, name: str, words: Sequence[str], on_line: Callable[[str, bool], None]) -> Child:
        """Start a child; a gateway that is started again keeps the ports that it had."""
        environ = {
            **self._settings.inputs.environ,
            "PYTHONUNBUFFERED": "1",
            "TIDEMILL_GATEWAY__LISTEN": self._listen["public"],
            "TIDEMILL_CONTROL__LISTEN": self._listen["control"],
        }
        return await Child.start(name, words, config=self._call.config, environ=environ, on_line=on_line)

    def _gateway_line(self, line: str, error: bool) -> None:  # noqa: FBT001 - a callback
        """Show a line of the gateway; those that say where it listens become one greeting."""
        found = None if error else _LISTENER.fullmatch(line)
        if found is None:
            _printer("gateway")(line, error)
            return
        first = len(self._urls) < len(self._listen)
        self._urls[found[1]], self._listen[found[1]] = found[2], found[3]
        if first and len(self._urls) == len(self._listen):
            for told in self._greeting():
                _printer("dev")(told, False)  # noqa: FBT003 - not an error

    def _greeting(self) -> list[str]:
        public = self._urls["public"]
        lines = [f"webhooks     {public}/webhooks/{name}" for name in self._settings.sources]
        lines.append(f"dashboard    {self._urls['control']}/")
        lines.append(f"control API  {self._urls['control']}/api/v1")
        hint = _hint(self._settings, public)
        return [*lines, f"try          {hint}"] if hint else [*lines, "add a [sources.<name>] for webhooks"]

    async def _watch(self, stopping: asyncio.Event) -> None:
        paths = watched(self._modules)
        python = watchfiles.PythonFilter()
        async for changes in watchfiles.awatch(
            *paths, watch_filter=python, stop_event=stopping, debounce=_SETTLE_MS
        ):
            names = sorted({Path(path).name for _, path in changes})
            _printer("dev")(f"{', '.join(names)} changed: a new worker starts", False)  # noqa: FBT003 - not an error
            self._changed.set()


def watched(modules: Sequence[str]) -> set[Path]:
    """Return the folders that handler modules stand in, without importing any."""
    return {folder for module in modules for folder in _folders(module.partition(":")[0])}


def _folders(target: str) -> list[Path]:
    if target.endswith(".py") or "/" in target:
        return [Path(target).resolve().parent]
    spec = find_spec(target.partition(".")[0])
    if spec is not None and spec.submodule_search_locations:
        return [Path(location).resolve() for location in spec.submodule_search_locations]
    if spec is not None and spec.origin is not None:
        return [Path(spec.origin).resolve().parent]
    return [Path.cwd()]  # the module isn't there yet: its import says so, and a new file is noticed


def _hint(settings: Settings, public: str) -> str:
    """Return a `tidemill send` that works here; empty where no source has a sample."""
    to = "" if public == f"http://{settings.gateway.listen}" else f" --to {public}"
    for name, source in settings.sources.items():
        types = sample_types(recipe_of(name, source).name)
        if types:
            return f"tidemill send {name} {'push' if 'push' in types else types[0]}{to}"
    return ""


def _printer(name: str) -> Callable[[str, bool], None]:
    def show(line: str, error: bool) -> None:  # noqa: FBT001 - a callback
        stream = sys.stderr if error else sys.stdout
        text = Text.assemble((f"{name:<8}", _COLOURS[name]), ("| ", "dim"), Text.from_ansi(line))
        Console(file=stream, highlight=False, soft_wrap=True).print(text)
        stream.flush()

    return show
