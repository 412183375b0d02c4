"""The doctor's check of the gateway's spool: is there room for it, and does anything in it need a look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidemill.cli.finding import Findings, ok, problem, warning
from tidemill.kernel.jetstream.embedded_files import free_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from tidemill.kernel.settings.model import Settings

_SUBJECT: Final = "spool"
_LEFT_BEHIND: Final = ("aside-*", "*.damaged")


def spool(settings: Settings) -> Findings:
    """Check what can be seen from outside of the gateway."""
    limit = settings.gateway.spool
    if limit is None:
        return
    folder = settings.gateway.spool_dir or settings.nats.data_dir / "spool"
    left = sorted(path.name for pattern in _LEFT_BEHIND for path in folder.glob(pattern))
    if left:
        what = f"{', '.join(left[:5])} in {folder}: {len(left)} files with deliveries that weren't drained"
        yield warning(_SUBJECT, what, "the gateway's log says why; docs/spool.md says what to do")
    used = sum(path.stat().st_size for path in folder.glob("*.log"))
    free = free_bytes(_nearest(folder))
    told = f"{used >> 10} KiB of {limit >> 10} KiB used in {folder}"
    if free < limit - used:
        hint = "free some, lower gateway.spool, or set gateway.spool_dir to a larger disk"
        yield problem(_SUBJECT, f"{told}, {free >> 20} MiB are free there", hint)
    elif not left:
        yield ok(_SUBJECT, told)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists."""
    return next((path for path in (folder, *folder.parents) if path.exists()), folder)
