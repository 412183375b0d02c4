"""Settings: one frozen object, read once at the start from `tidemill.toml` and the environment.

A key of the file is also a variable: `[worker] slots` is `TIDEMILL_WORKER__SLOTS`. Later inputs win: file,
environment, command line. This is the only module that reads the process's environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, PrivateAttr, ValidationError

from tidemill.kernel.errors import NotFoundError, SettingsError
from tidemill.kernel.settings.alerts import AlertsSettings, alerts_contradictions
from tidemill.kernel.settings.audit import AuditSettings
from tidemill.kernel.settings.control import ControlSettings
from tidemill.kernel.settings.deliveries import DeliveriesSettings
from tidemill.kernel.settings.destinations import DESTINATION_NAME, DestinationSettings
from tidemill.kernel.settings.egress import EgressSettings
from tidemill.kernel.settings.events import EventsSettings
from tidemill.kernel.settings.merging import (
    COMMAND_LINE,
    FILE_NAME,
    Given,
    from_environment,
    problems,
    read_file,
)
from tidemill.kernel.settings.run_logs import RunLogsSettings
from tidemill.kernel.settings.sections import (
    SOURCE_NAME,
    ClientSettings,
    EngineSettings,
    GatewaySettings,
    HistorySettings,
    JournalSettings,
    LogSettings,
    NatsSettings,
    SchemasSettings,
    Section,
    SourceSettings,
    WorkerSettings,
)
from tidemill.kernel.settings.telemetry import TelemetrySettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from tidemill.kernel.egress import Egress
    from tidemill.kernel.settings.control import ProxySettings
    from tidemill.kernel.settings.secrets import Secret

DestinationName = Annotated[str, Field(pattern=DESTINATION_NAME, max_length=50)]
SourceName = Annotated[str, Field(pattern=SOURCE_NAME, max_length=64)]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What settings were read from, so that they can be read again."""

    path: Path | None
    environ: Mapping[str, str]
    overrides: Mapping[str, Any]

    @property
    def file(self) -> Path:
        """The settings file, which needn't exist where none was named."""
        return (self.path or Path(FILE_NAME)).absolute()


def _section() -> Any:
    """Return a field that is an empty table where it is missing, read like one that was written."""
    return Field(default_factory=dict)


class Settings(Section):
    """All settings."""

    gateway: GatewaySettings = _section()
    control: ControlSettings = _section()
    nats: NatsSettings = _section()
    worker: WorkerSettings = _section()
    engine: EngineSettings = _section()
    journal: JournalSettings = _section()
    events: EventsSettings = _section()
    deliveries: DeliveriesSettings = _section()
    audit: AuditSettings = _section()
    run_logs: RunLogsSettings = _section()
    history: HistorySettings = _section()
    client: ClientSettings = _section()
    schemas: SchemasSettings = _section()
    log: LogSettings = _section()
    telemetry: TelemetrySettings = _section()
    egress: EgressSettings = _section()
    alerts: AlertsSettings = _section()
    sources: dict[SourceName, SourceSettings] = Field(default_factory=dict)
    destinations: dict[DestinationName, DestinationSettings] = Field(default_factory=dict)

    _inputs: Inputs = PrivateAttr(default=Inputs(None, {}, {}))

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read the settings.

        Args:
            path: the settings file; without one `tidemill.toml` of the working directory, if it exists.
            environ: the environment; the process's own where it is missing.
            overrides: tables that win over both, as the command line's options do.

        Raises:
            SettingsError: something in them is unknown, malformed or contradictory; it names everything.
        """
        inputs = Inputs(path, _environment() if environ is None else environ, overrides or {})
        given = _gather(inputs)
        try:
            settings = cls.model_validate(given.values, context={"base": inputs.file.parent})
        except ValidationError as error:
            raise _wrong(problems(error, given, cls)) from None
        if found := list(_contradictions(settings)):
            raise _wrong(found)
        settings._inputs = inputs  # noqa: SLF001 - its own, it is frozen for everybody else
        return settings

    @property
    def inputs(self) -> Inputs:
        """What these settings were read from."""
        return self._inputs

    def reload(self) -> Self:
        """Read the settings again from where they came.

        Raises:
            SettingsError: as `load` does.
        """
        return type(self).load(self.inputs.path, self.inputs.environ, self.inputs.overrides)

    def way_out(self) -> Egress:
        """Return how hosts elsewhere are reached.

        Raises:
            SettingsError: the address of a proxy can't be resolved, or is none.
        """
        return self.egress.resolve(self.inputs.environ)

    def source(self, name: str) -> SourceSettings:
        """Return a source's settings.

        Raises:
            NotFoundError: no source has that name.
        """
        if name not in self.sources:
            raise NotFoundError(
                f"there is no source {name!r}",
                hint=f"add [sources.{name}] to the settings; `tidemill sources list --presets` shows presets",
            )
        return self.sources[name]

    def secrets_of(self, name: str, moment: datetime | None = None) -> tuple[Secret, ...]:
        """Return the values of a source's secrets that count at an instant, by default now.

        Raises:
            NotFoundError: no source has that name.
            SettingsError: a secret can't be resolved.
        """
        return self.source(name).resolve_secrets(self.inputs.environ, moment)


def _environment() -> Mapping[str, str]:
    return os.environ  # noqa: TID251 - here is the one place that reads it


def _gather(inputs: Inputs) -> Given:
    given = Given()
    if inputs.path is not None or inputs.file.exists():
        given.put((), read_file(inputs.file), inputs.file.name)
    for keys, value, variable in from_environment(inputs.environ):
        given.put(keys, value, variable)
    given.put((), inputs.overrides, COMMAND_LINE)
    return given


def _wrong(found: list[str]) -> SettingsError:
    head = "a setting is wrong" if len(found) == 1 else f"{len(found)} settings are wrong"
    return SettingsError("\n  ".join([f"{head}:", *found]), hint="docs/settings.md lists every key")


def _contradictions(settings: Settings) -> Iterator[str]:
    """Yield what can't be true at the same time."""
    if settings.gateway.listen.clashes(settings.control.listen):
        yield f"gateway.listen and control.listen are both {settings.control.listen}: they need a port each"
    if settings.events.duplicate_window > settings.events.max_age:
        yield "events.duplicate_window is longer than events.max_age: a duplicate outlives its event"
    yield from _broker_contradictions(settings.nats)
    if settings.control.oidc is not None and settings.control.public_url is None:
        yield "control.oidc needs control.public_url: the identity provider sends browsers back to it"
    yield from alerts_contradictions(settings.alerts)
    if settings.control.proxy is not None:
        yield from _proxy_contradictions(settings.control.proxy)
    for name, source in settings.sources.items():
        yield from _source_contradictions(f"sources.{name}", source)
        yield from _keeping_contradictions(f"sources.{name}", source, settings.events.duplicate_window)


def _broker_contradictions(nats: NatsSettings) -> Iterator[str]:
    if nats.embedded and nats.replicas > 1:
        yield "nats.replicas needs a cluster: the embedded broker is a single server"
    if nats.embedded and (nats.user or nats.password or nats.credentials or nats.tls.enabled):
        yield "nats.user, password, credentials and tls are for servers in nats.url, not for the embedded one"
    if (nats.user is None) != (nats.password is None):
        yield "nats.user and nats.password belong together: one of them is missing"
    if nats.user and nats.credentials:
        yield "nats.user and nats.credentials exclude each other"
    if (nats.tls.cert is None) != (nats.tls.key is None):
        yield "nats.tls.cert and nats.tls.key belong together: one of them is missing"


def _proxy_contradictions(proxy: ProxySettings) -> Iterator[str]:
    if (proxy.secret is None) == (proxy.jwks_url is None):
        yield "control.proxy needs either secret or jwks_url: a header that isn't signed proves nothing"


def _keeping_contradictions(where: str, source: SourceSettings, window: float) -> Iterator[str]:
    if source.keep_refused is None:
        return
    if source.keep_refused.max_age > min(window, source.duplicate_window or window):
        yield f"{where}.keep_refused.max_age is longer than deliveries are recognised: they could go in twice"
    if not source.secrets and not source.learn and not source.tenants:
        yield f"{where}.keep_refused needs secrets: there is none to mend"


def _source_contradictions(where: str, source: SourceSettings) -> Iterator[str]:
    if (source.preset is None) == (source.recipe is None):
        yield f"{where} needs either preset or recipe"
    if source.reply_timeout is not None and source.reply is None:
        yield f'{where}.reply_timeout needs {where}.reply = "run"'
    if source.tenants and source.allow_unsigned:
        yield f"{where}.tenants and allow_unsigned exclude each other: nothing would tell tenants apart"
    if source.tenants == "required" and (source.secrets or source.learn):
        yield f'{where}.secrets and learn are for requests without a tenant: tenants = "required" takes none'
