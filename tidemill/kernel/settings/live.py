"""Secrets and API keys that change while the process runs: files that are read again when they change.

What is reloaded: `file:` secrets, and in the settings file `sources.<name>.secrets` and `verify_tokens` and
`control.keys`. Everything else, the environment too, stays as it was at the start. A change that can't be
read is logged once and tried again at every look; what worked last stays in force meanwhile: a half-written
file must not lock every sender out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from tidemill.kernel import clock
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.control import ApiKey
from tidemill.kernel.settings.events import EventKey, TokenIssuer
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.secrets import Secret

log = logging.getLogger(__name__)
CHECK_SECONDS: Final = 1.0
_SECRETS: Final = "secrets"
_TOKENS: Final = "verify_tokens"
Entries = tuple[tuple[Secret, datetime | None], ...]
Resolved = dict[str, Entries]
Stamp = tuple[int, int, int] | None


class LiveSettings:
    """The present secrets and keys; looks at the files' times at most once a second.

    Args:
        settings: what was loaded at the start.
        monotonic: the clock that says when to look again.

    Raises:
        SettingsError: a secret can't be resolved at the start.
    """

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._settings = settings
        self._stamps = _stamps(settings)
        self._secrets = _resolve(settings, _SECRETS)
        self._tokens = _resolve(settings, _TOKENS)
        self._next_look = monotonic() + CHECK_SECONDS
        self._problem = ""

    def secrets(self, source: str, moment: datetime | None = None) -> tuple[Secret, ...]:
        """Return the secrets of a source that count at an instant, by default now; none if it is unknown."""
        self._look()
        return _active(self._secrets.get(source, ()), moment)

    def verify_tokens(self, source: str, moment: datetime | None = None) -> tuple[Secret, ...]:
        """Return the verify tokens of a source that count at an instant, as for `secrets`."""
        self._look()
        return _active(self._tokens.get(source, ()), moment)

    def api_keys(self) -> tuple[ApiKey, ...]:
        """Return the API keys of the control listener."""
        self._look()
        return self._settings.control.keys

    def event_keys(self) -> tuple[EventKey, ...]:
        """Return the API keys of the event API."""
        self._look()
        return self._settings.events.keys

    def token_issuers(self) -> tuple[TokenIssuer, ...]:
        """Return who issues bearer tokens for the event API."""
        self._look()
        return self._settings.events.issuers

    def _look(self) -> None:
        if self._monotonic() < self._next_look:
            return
        self._next_look = self._monotonic() + CHECK_SECONDS
        if self._problem or _stamps(self._settings) != self._stamps:
            self._reload()

    def _reload(self) -> None:
        """Read everything again; times are taken before contents, so that no later change is missed."""
        before = _stamp(self._settings.inputs.file)
        try:
            settings = self._settings.reload()
            stamps = _stamps(settings) | {settings.inputs.file: before}
            secrets, tokens = _resolve(settings, _SECRETS), _resolve(settings, _TOKENS)
        except SettingsError as error:
            self._complain(str(error))
            return
        self._settings, self._secrets, self._tokens = settings, secrets, tokens
        self._stamps, self._problem = stamps, ""
        log.info("secrets and API keys were reloaded")

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            log.error("secrets were not reloaded, the last ones stay in force: %s", problem)
        self._problem = problem


def _resolve(settings: Settings, key: str) -> Resolved:
    """Resolve every secret that still counts: one that has run out may be gone from where it stood."""
    now, environ = clock.now(), settings.inputs.environ
    return {
        name: tuple(
            (Secret(entry.value.resolve(environ).reveal(), place), entry.until)
            for place, entry in enumerate(getattr(source, key))
            if entry.active(now)
        )
        for name, source in settings.sources.items()
    }


def _active(entries: Entries, moment: datetime | None) -> tuple[Secret, ...]:
    if len(entries) == 1 and entries[0][1] is None:
        return (entries[0][0],)  # as nearly everywhere: every request asks
    now = moment or clock.now()
    return tuple(secret for secret, until in entries if until is None or now < until)


def _files(settings: Settings) -> Iterator[Path]:
    yield settings.inputs.file
    for source in settings.sources.values():
        for entry in (*source.secrets, *source.verify_tokens):
            if entry.value.path is not None:
                yield entry.value.path


def _stamps(settings: Settings) -> dict[Path, Stamp]:
    return {path: _stamp(path) for path in _files(settings)}


def _stamp(path: Path) -> Stamp:
    """Return what changes with a file's content: times, size and identity; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
