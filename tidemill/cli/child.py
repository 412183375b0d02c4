"""One command of this product in a process of its own, which never outlives the one that started it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidemill.kernel.jetstream import guard

if TYPE_CHECKING:
    from asyncio.subprocess import Process

OnLine = Callable[[str, bool], None]
"""Takes a line of the child's output, and whether it came on standard error."""
_CHUNK: Final = 1 << 16
_LONGEST_LINE: Final = 1 << 20
_LAST_WORDS: Final = 1.0
_log = logging.getLogger(__name__)


class Child:
    """A running command.

    It stands in a session of its own, so that Ctrl-C in the terminal reaches its owner alone, which then
    stops it in order. A guard between both terminates it when the owner is gone, however that died.
    """

    def __init__(self, name: str, process: Process, on_line: OnLine | None) -> None:
        self.name = name
        self._process = process
        self._pumps = [
            asyncio.create_task(_pump(stream, on_line, error=error), name=f"read the output of {name}")
            for stream, error in ((process.stdout, False), (process.stderr, True))
            if stream is not None and on_line is not None
        ]

    @classmethod
    async def start(
        cls,
        name: str,
        words: Sequence[str],
        *,
        config: Path | None,
        environ: Mapping[str, str],
        on_line: OnLine | None = None,
    ) -> Child:
        """Start `tidemill WORD...`.

        Args:
            name: what to call it in the log.
            words: the command and its arguments.
            config: the settings file that it reads, None for its own default.
            environ: the whole environment.
            on_line: takes the lines that it prints; without it they go where ours go.
        """
        options = ("--config", str(config)) if config is not None else ()
        pipe = asyncio.subprocess.PIPE if on_line is not None else None
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", guard.__file__),
            *(sys.executable, "-m", "tidemill.cli.main", *options, *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=pipe,
            stderr=pipe,
            env=dict(environ),
            start_new_session=True,
        )
        return cls(name, process, on_line)

    async def wait(self) -> int:
        """Wait for its end and the last line of its output, and return its exit code."""
        code = await self._process.wait()
        if self._pumps:  # what the child has started itself may hold the pipes open for ever
            await asyncio.wait(self._pumps, timeout=_LAST_WORDS)
        return code

    async def stop(self, patience: float) -> int:
        """Ask it to end with SIGTERM, end it after `patience` seconds, and return its exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(patience):
                code = await self.wait()
        except TimeoutError:
            _log.error("%s didn't end within %g s: it is killed", self.name, patience)
            code = await self._kill()
        for pump in self._pumps:
            pump.cancel()
        return code

    async def _kill(self) -> int:
        """Let go of the guard, which kills the command after its own grace period."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(guard.GRACE + 2):
                return await self.wait()
        except TimeoutError:
            self._process.kill()
            return await self.wait()


async def _pump(stream: asyncio.StreamReader, on_line: OnLine, *, error: bool) -> None:
    """Hand over the lines of a stream; one that is too long comes in parts."""
    rest = b""
    while chunk := await stream.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        for line in lines:
            on_line(line.decode("utf-8", "replace"), error)
    if rest:
        on_line(rest.decode("utf-8", "replace"), error)
