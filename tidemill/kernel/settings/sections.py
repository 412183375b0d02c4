"""The sections of `tidemill.toml`: their keys, types and defaults. What each key does stands below it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from tidemill.kernel import clock
from tidemill.kernel.settings.secrets import Secret, SecretRef
from tidemill.kernel.settings.values import (
    MAX_PORT,
    Address,
    ByteSize,
    Listed,
    Listen,
    Networks,
    PathValue,
    Seconds,
    SecretValue,
    Table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

EMBEDDED: Final = "embedded"
Role = Literal[
    "router", "mailman", "listener", "closer", "sweeper", "scheduler", "forwarder", "history", "alerts"
]
ROLES: Final[tuple[Role, ...]] = (
    "router",
    "mailman",
    "listener",
    "closer",
    "sweeper",
    "scheduler",
    "forwarder",
    "history",
    "alerts",
)
SOURCE_NAME: Final = r"^[a-z0-9]+([_-]?[a-z0-9]+)*$"
_SERVER = re.compile(r"(?:nats|tls|wss?)://(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:@/\s,]+)(?::(?P<port>[0-9]{1,5}))?/?")


def _check_servers(value: str) -> str:
    if value != EMBEDDED and not all(_is_server(server.strip()) for server in value.split(",")):
        raise ValueError(
            "write 'embedded' or servers like 'nats://a:4222,nats://b:4222', without credentials"
        )
    return value


def _is_server(text: str) -> bool:
    found = _SERVER.fullmatch(text)
    return found is not None and int(found["port"] or 0) <= MAX_PORT


def _whole_number(value: object) -> object:
    """Return the number that text of the environment is: where only certain ones fit, pydantic reads none."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _check_history(value: SecretRef) -> SecretRef:
    if not value.text.startswith(("sqlite:///", "postgresql://", "env:", "file:")):
        raise ValueError("write 'sqlite:///PATH', 'postgresql://…', or env:NAME or file:PATH that hold one")
    return value


def _tls_table(value: object) -> object:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return {"enabled": value.lower()}
    return {"enabled": value} if isinstance(value, bool) else value


def _keep_table(value: object) -> object:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        value = value.lower() == "true"
    return ({} if value else None) if isinstance(value, bool) else value


def secret_table(value: object) -> object:
    """Return the table that plain text stands for where a secret is asked for."""
    return {"value": value} if isinstance(value, str | SecretRef) else value


HttpsUrl = Annotated[str, Field(pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!#-;=?-Z_a-z~%]*)?$")]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^/\s?#]+[^\s?#]*$")]
Servers = Annotated[str, AfterValidator(_check_servers)]
HistoryUrl = Annotated[SecretValue, AfterValidator(_check_history)]


class Section(BaseModel):
    """Base of all sections: frozen, and a key that isn't listed is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class GatewaySettings(Section):
    """The public listener: webhooks, events and token pages."""

    listen: Listen = Address("127.0.0.1", 8080)
    """Address of the public listener."""
    public_url: HttpUrl | None = None
    """URL under which the world reaches the public listener; links are built from it."""
    max_body: ByteSize = 1 << 20
    """Largest request body; a source or its preset may raise it."""
    max_head: Annotated[ByteSize, Field(ge=4096, le=1 << 20)] = 64 << 10
    """Largest head of a request: its first line and its headers."""
    max_headers: Annotated[int, Field(ge=20, le=1000)] = 200
    """Most headers of a request."""
    request_timeout: Annotated[Seconds, Field(ge=1, le=600)] = 30.0
    """How long a request may take to arrive; every 64 KiB add a second."""
    trusted_proxies: Networks = ()
    """Networks of proxies whose `X-Forwarded-For` is believed."""
    client_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Requests a second of one client address, over all sources; more are answered 429."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Requests at the same time, over all sources; more are answered 429."""
    max_waiting: Annotated[int, Field(ge=1)] = 1000
    """Senders that wait for a run's answer at the same time; others get the usual one at once."""
    secret_key: Annotated[tuple[SecretValue, ...], Listed] = ()
    """Keys that encrypt secrets on the broker, 32 bytes in base64 or hex; the first encrypts, all decrypt."""
    spool: Annotated[ByteSize, Field(ge=1 << 16)] | None = None
    """Size of the spool that takes deliveries while the broker is away; without one they are answered 503."""
    spool_dir: PathValue | None = None
    """Folder of the spool, for one gateway alone; `spool` in `nats.data_dir` where it is missing."""


class TlsSettings(Section):
    """TLS towards the broker; `tls = true` alone trusts the system's certificates."""

    enabled: bool = True
    """Whether to speak TLS."""
    ca: PathValue | None = None
    """Certificates that are trusted, PEM; the system's where it is missing."""
    cert: PathValue | None = None
    """The client's certificate, PEM."""
    key: PathValue | None = None
    """The private key of the client's certificate, PEM."""


class NatsSettings(Section):
    """The broker: embedded, or servers that stand elsewhere."""

    url: Servers = EMBEDDED
    """`embedded`, or the servers of a cluster with commas between them."""
    data_dir: PathValue = Path(".tidemill")
    """Folder of the embedded broker's data, lock and credential."""
    durability: Literal["fsync", "os"] = "fsync"
    """Embedded broker: `fsync` writes to disk before it acknowledges, `os` leaves that to the system."""
    user: str | None = None
    """User name at the broker."""
    password: SecretValue | None = None
    """Password at the broker."""
    credentials: PathValue | None = None
    """File with a NATS user's JWT and key (`.creds`)."""
    tls: Annotated[TlsSettings, BeforeValidator(_tls_table)] = TlsSettings(enabled=False)
    """`true`, or a table with the keys below."""
    replicas: Annotated[Literal[1, 3, 5], BeforeValidator(_whole_number)] = 1
    """Copies of every stream in a cluster."""
    namespace: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]{0,31})?$")] = ""
    """Prefix of all names on the broker, so that several installations share one."""

    @property
    def embedded(self) -> bool:
        """Whether the broker is a child process of ours."""
        return self.url == EMBEDDED

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers' URLs; none where the broker is embedded."""
        return () if self.embedded else tuple(server.strip() for server in self.url.split(","))


class WorkerSettings(Section):
    """Worker processes."""

    slots: Annotated[int, Field(ge=1)] = 100
    """Runs that one process executes at the same time."""
    threads: Annotated[int, Field(ge=1)] = 32
    """Threads for synchronous handlers, per process."""
    processes: Annotated[int, Field(ge=1)] = 1
    """Worker processes that one command starts."""
    cpu_processes: Annotated[int, Field(ge=1)] | None = None
    """Processes for handlers with `executor="process"`, per worker process; by default one a core."""
    shutdown_timeout: Seconds = 30.0
    """How long a stopping worker lets its runs go on before it hands them back."""
    linger: Seconds = 1.0
    """How long a run that only waits for time stays in memory: leaving and coming back costs more."""
    max_memory: ByteSize | None = None
    """Resident memory above which a worker process finishes its runs and is replaced."""
    lease: Annotated[Seconds, Field(ge=1, le=300)] = 12.0
    """How long a ticket stays with a worker that has stopped renewing it."""
    engine: bool = True
    """Whether a worker runs the engine's roles too."""


class EngineSettings(Section):
    """The engine: everything that moves runs along without executing them."""

    roles: Annotated[tuple[Role, ...], Field(min_length=1), Listed] = ROLES
    """Roles that this process runs."""


class JournalSettings(Section):
    """Journals of runs."""

    keep: Annotated[Seconds, Field(ge=1)] = 86400.0
    """How long an ended run's journal stays at least; it stays until the history has taken it in."""
    tombstone: Annotated[Seconds, Field(ge=1)] = 3600.0
    """How long a closed run's id stays taken."""


class HistorySettings(Section):
    """The database of what has happened."""

    url: HistoryUrl = SecretRef("sqlite:///.tidemill/history.db")
    """`sqlite:///PATH` or `postgresql://…`; a secret, since it may hold a password."""
    name: Annotated[str, Field(pattern=r"^[a-z0-9]+([_-]?[a-z0-9]+)*$", max_length=64)] = "history"
    """Name of this history; several databases of one broker need a name each."""
    keep_runs: Annotated[Seconds, Field(ge=60)] = 30 * 86400.0
    """How long ended runs, events, deliveries and dead letters are kept."""
    keep_bodies: Annotated[Seconds, Field(ge=60)] = 7 * 86400.0
    """How long inputs, results and bodies are kept, and can be searched for."""
    max_body: Annotated[ByteSize, Field(ge=1024, le=1 << 20)] = 32 << 10
    """Bytes of an input, a result or a body that are kept."""
    patience: Annotated[Seconds, Field(ge=1)] = 3 * 86400.0
    """How long a journal waits for the history beyond `journal.keep` before it is closed without it."""


class ClientSettings(Section):
    """How the command line and client code reach a remote installation over HTTP."""

    url: HttpUrl | None = None
    """URL of the control listener."""
    key: SecretValue | None = None
    """API key."""


class SchemasSettings(Section):
    """JSON Schemas of your own."""

    directories: Annotated[tuple[PathValue, ...], Listed] = ()
    """Folders with schemas, looked through before the ones that come with the product."""


class LogSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is written."""
    format: Literal["text", "json"] = "text"
    """`text` for people, `json` for collectors: one object a line."""


class SourceSecret(Section):
    """One of a source's secrets; plain text stands for its `value`."""

    value: SecretValue
    """The secret."""
    until: AwareDatetime | None = None
    """Instant from which it no longer counts; for rotation."""

    def active(self, moment: datetime) -> bool:
        """Say whether the secret counts at an instant."""
        return self.until is None or moment < self.until


class KeepRefused(Section):
    """What a source keeps of the requests that it refused for their signature; `true` keeps the defaults."""

    max_age: Annotated[Seconds, Field(ge=1, le=30 * 86400)] = 3600.0
    """How long a refused request is kept."""
    max_bytes: Annotated[ByteSize, Field(ge=64 << 10)] = 10 << 20
    """Size at which the oldest go; one request takes a quarter of it at most."""


class SourceSettings(Section):
    """A configured sender of webhooks."""

    preset: Annotated[str, Field(min_length=1)] | None = None
    """Provider whose signature scheme and attributes are used, like `github`."""
    recipe: Annotated[dict[str, Any], Table] | None = None
    """Signature scheme written out, for a provider without a preset."""
    secrets: Annotated[tuple[Annotated[SourceSecret, BeforeValidator(secret_table)], ...], Listed] = ()
    """Signing secrets; every active one is accepted."""
    verify_tokens: Annotated[tuple[Annotated[SourceSecret, BeforeValidator(secret_table)], ...], Listed] = ()
    """What the sender shows in its handshake, or what its answer is made of; not what it signs with."""
    keys: HttpsUrl | None = None
    """Address of the sender's public keys (a JSON Web Key Set), where its preset or recipe leaves it open."""
    audience: Annotated[str, Field(min_length=1)] | None = None
    """Whom the sender's tokens must be for; else as the preset says."""
    learn: bool = False
    """Trust on first use: take the secret that the sender brings first, where its preset or recipe can."""
    deduplicate: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Listed] = ()
    """What a delivery is recognised by: templates of its id, as in a recipe, or `body`."""
    duplicate_window: Annotated[Seconds, Field(ge=1)] | None = None
    """How long a delivery is recognised, if shorter than `events.duplicate_window`; with `body` 60 s."""
    prune: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Listed] = ()
    """Paths that are taken out before an event is stored, like `card.number`; `*` is any key or item."""
    rename: Annotated[dict[str, str], Table] = {}
    """Paths that get another name before an event is stored, old to new."""
    answer: Annotated[dict[str, Any] | None, Table] = None
    """What deliveries are answered with: `status`, `content_type` and `body`; else as the preset says."""
    refusal: Annotated[dict[str, Any] | None, Table] = None
    """What requests that don't verify are answered with: the same keys; else as the preset says."""
    reply: Literal["run"] | None = None
    """`run` lets senders wait for what a task with `reply=True` answers; `answer` is for when none does."""
    reply_timeout: Annotated[Seconds, Field(ge=0.1, le=60)] | None = None
    """How long they wait; without it four fifths of what the provider waits, where that is known."""
    max_body: ByteSize | None = None
    """Largest request body of this source."""
    tolerance: Annotated[Seconds, Field(gt=0)] | None = None
    """How far a signed timestamp may be from now; the preset's where it is missing."""
    networks: Networks = ()
    """Networks from which requests are taken, others are answered 403; all where it is missing."""
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Requests a second; more are answered 429."""
    client_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Requests a second of one client address; more are answered 429."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Requests at the same time; more are answered 429."""
    policy: Literal["quarantine", "flag", "reject"] = "quarantine"
    """What becomes of a genuine delivery with unsound data: `flag` lets in what only misses its schema."""
    keep_refused: Annotated[KeepRefused | None, BeforeValidator(_keep_table)] = None
    """Keep requests whose signature doesn't match, to verify them again when a secret is mended."""
    allow_unsigned: bool = False
    """Accept deliveries without any signature. Whoever knows the URL can post."""
    tenants: bool | Literal["required"] = False
    """Whether tenants have secrets of their own: `true`, or `required` where every request names one."""

    def resolve_tokens(self, environ: Mapping[str, str]) -> tuple[Secret, ...]:
        """Return the values of the verify tokens that count now.

        Raises:
            SettingsError: one of them can't be resolved.
        """
        return active_values(self.verify_tokens, environ)

    def resolve_secrets(
        self, environ: Mapping[str, str], moment: datetime | None = None
    ) -> tuple[Secret, ...]:
        """Return the values of the secrets that count at an instant, by default now.

        Raises:
            SettingsError: one of them can't be resolved.
        """
        return active_values(self.secrets, environ, moment)


def active_values(
    secrets: Iterable[SourceSecret], environ: Mapping[str, str], moment: datetime | None = None
) -> tuple[Secret, ...]:
    """Return the values of the secrets that count at an instant, by default now.

    Raises:
        SettingsError: one of them can't be resolved.
    """
    now = moment or clock.now()
    return tuple(secret.value.resolve(environ) for secret in secrets if secret.active(now))
