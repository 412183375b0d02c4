"""The doctor's checks of a remote installation: its control listener and our key for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tidemill.cli.asking import open_remote
from tidemill.cli.finding import Finding, ok, problem
from tidemill.kernel.errors import TidemillError

if TYPE_CHECKING:
    from tidemill.kernel.settings.model import Settings

_TIMEOUT = 5.0


async def control(settings: Settings, url: str) -> list[Finding]:
    """Ask whether a gateway is ready, and whether it lets us in."""
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            answer = await client.get(f"{url.rstrip('/')}/readyz")
    except httpx.HTTPError as error:
        what = f"{url} can't be reached: {str(error) or type(error).__name__}"
        return [problem("control", what, "is a gateway running there? --url is its control listener")]
    if not answer.is_success:
        what = f"{url} isn't ready: {answer.status_code} {answer.text[:300]}"
        return [problem("control", what, "run 'tidemill doctor' over there, it looks closer")]
    try:
        async with open_remote(settings) as remote:
            tasks = await remote.tasks()
    except TidemillError as error:
        return [ok("control", f"{url} is ready"), problem("key", error.sentence, error.hint)]
    return [ok("control", f"{url} is ready and lets us in: {len(tasks)} tasks")]
