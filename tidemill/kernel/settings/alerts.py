"""The sections of alerts: what is watched, when it is told, and where to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tidemill.kernel.settings.destinations import HeaderName, check_url, reveal_headers, reveal_url
from tidemill.kernel.settings.sections import Section, SourceSecret, secret_table
from tidemill.kernel.settings.values import Listed, PathValue, Seconds, SecretValue, Table, parse_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

Kind = Literal[
    "run_failed", "failure_rate", "queue_age", "source_silent", "quarantine", "drift", "approval_expiring"
]
Severity = Literal["info", "warning", "critical"]
ALERT_NAME: Final = r"^[a-z0-9]+([_-]?[a-z0-9]+)*$"
_MAILBOX: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")


def _check_mailbox(value: str) -> str:
    if not _MAILBOX.fullmatch(value):
        raise ValueError("not an address: write it like ops@example.com, without a name before it")
    return value


def _check_host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("not a host: write its name or its address, without a port")
    return value


Mailbox = Annotated[str, AfterValidator(_check_mailbox)]
AlertName = Annotated[str, Field(pattern=ALERT_NAME, max_length=50)]
Pattern = Annotated[str, Field(min_length=1, max_length=255)]
Threshold = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, allow_inf_nan=False)]


class SlackSettings(Section):
    """A channel of Slack, or of whatever takes the same messages, like Mattermost."""

    url: Annotated[SecretValue, AfterValidator(check_url)]
    """The incoming webhook's address; a secret."""
    allow_private: bool = False
    """Whether addresses that aren't public may be connected to: loopback, private, link-local."""

    def address(self, environ: Mapping[str, str]) -> str:
        """Return the address.

        Raises:
            SettingsError: it can't be resolved, or is none.
        """
        return reveal_url(self.url, environ, "see docs/alerts.md")


class AlertWebhookSettings(Section):
    """An address that alerts are posted to as JSON, signed by Standard Webhooks."""

    url: Annotated[SecretValue, AfterValidator(check_url)]
    """Address that alerts are posted to; a secret, since it may hold a token."""
    secrets: Annotated[tuple[Annotated[SourceSecret, BeforeValidator(secret_table)], ...], Listed] = ()
    """Secrets (`whsec_…`) that requests are signed with by Standard Webhooks; each active one signs."""
    headers: Annotated[dict[HeaderName, SecretValue], Table] = {}  # noqa: RUF012 - pydantic copies it
    """Headers to send besides; their values are secrets."""
    allow_private: bool = False
    """Whether addresses that aren't public may be connected to: loopback, private, link-local."""

    def address(self, environ: Mapping[str, str]) -> str:
        """Return the address.

        Raises:
            SettingsError: it can't be resolved, or is none.
        """
        return reveal_url(self.url, environ, "see docs/alerts.md")

    def header_values(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the headers to send besides.

        Raises:
            SettingsError: a value can't be resolved, or can't stand in a header.
        """
        return reveal_headers(self.headers, environ)


class EmailSettings(Section):
    """A mail server, and who gets the alerts."""

    host: Annotated[str, AfterValidator(_check_host)]
    """The mail server."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """Its port."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` demands it after the greeting, `tls` speaks TLS from the start, `none` neither."""
    ca: PathValue | None = None
    """Certificates that are trusted, PEM; the system's where it is missing."""
    user: str | None = None
    """User name at the mail server; none to send without a login."""
    password: SecretValue | None = None
    """Password at the mail server."""
    sender: Mailbox
    """Address that alerts come from."""
    to: Annotated[tuple[Mailbox, ...], Field(min_length=1, max_length=50), Listed]
    """Addresses that get them."""


class RuleSettings(Section):
    """What is watched, and when that is an alert."""

    kind: Kind
    """What is watched; the table in [Alerts](alerts.md) says what each kind counts."""
    enabled: bool = True
    """Whether it is; `false` switches a default rule off."""
    tasks: Annotated[tuple[Pattern, ...], Listed] = ()
    """Tasks that it is for, with `*` for any text; all where it is empty."""
    sources: Annotated[tuple[Pattern, ...], Listed] = ()
    """Sources that it is for, with `*` for any text; all where it is empty."""
    threshold: Threshold | None = None
    """From which value on it is an alert: a number, a share, or a duration, by the kind."""
    window: Annotated[Seconds, Field(ge=1, le=7 * 86400)] | None = None
    """The time that is counted over, for the kinds that count."""
    lasting: Seconds | None = None
    """How long it must have been so before it counts, and be over before it is over."""
    min_runs: Annotated[int, Field(ge=1)] = 20
    """`failure_rate`: ended runs in the window below which a share says nothing."""
    channels: Annotated[tuple[AlertName, ...], Listed] = ()
    """Channels that it is told to; all where it is empty."""
    severity: Severity = "warning"
    """`info`, `warning` or `critical`, as messages say it."""
    repeat: Annotated[Seconds, Field(ge=1)] | None = None
    """After which time it is told again while it lasts; `alerts.repeat` where it is missing."""
    resolved: bool | None = None
    """Whether its end is told too; by default for the kinds that measure a state."""


DEFAULTS: Final[Mapping[str, Kind]] = {
    "run_failed": "run_failed",
    "failure_rate": "failure_rate",
    "queue_age": "queue_age",
    "quarantine": "quarantine",
    "drift": "drift",
    "approval_expiring": "approval_expiring",
}
"""The rules that are there by themselves; how long a source may be silent nobody else can know."""


class AlertsSettings(Section):
    """Alerts: what needs somebody, told where people are."""

    enabled: bool = True
    """Whether anything is watched."""
    defaults: bool = True
    """Whether each kind but `source_silent` has a rule of its own name; one of yours replaces it."""
    interval: Annotated[Seconds, Field(ge=0.1, le=300)] = 5.0
    """Time between two looks."""
    group_wait: Annotated[Seconds, Field(le=3600)] = 10.0
    """How long a rule's first alert waits for others, so that they make one message."""
    group_interval: Annotated[Seconds, Field(le=86400)] = 300.0
    """Least time between two messages of one rule."""
    repeat: Annotated[Seconds, Field(ge=1)] = 4 * 3600.0
    """After which time an alert that lasts is told again."""
    per_hour: Annotated[int, Field(ge=1, le=1000)] = 20
    """Messages that a channel gets in any hour; what is held back beyond that, the next one says."""
    retry_for: Annotated[Seconds, Field(ge=1, le=7 * 86400)] = 6 * 3600.0
    """How long a message is tried again that a channel doesn't take."""
    timeout: Annotated[Seconds, Field(ge=0.1, le=300)] = 15.0
    """How long one try may take."""
    messages: bool = True
    """Whether alerts carry errors' messages, with secrets as stars, or their types alone."""
    slack: Annotated[dict[AlertName, SlackSettings], Table] = {}  # noqa: RUF012 - pydantic copies it
    """Channels of Slack, each a table with the keys below."""
    email: Annotated[dict[AlertName, EmailSettings], Table] = {}  # noqa: RUF012 - pydantic copies it
    """Mail servers with who gets the alerts, each a table with the keys below."""
    webhook: Annotated[dict[AlertName, AlertWebhookSettings], Table] = {}  # noqa: RUF012 - pydantic copies it
    """Addresses that alerts are posted to, each a table with the keys below."""
    rules: Annotated[dict[AlertName, RuleSettings], Table] = {}  # noqa: RUF012 - pydantic copies it
    """Rules, each a table with the keys below."""

    @property
    def channels(self) -> dict[str, SlackSettings | EmailSettings | AlertWebhookSettings]:
        """All channels by their names."""
        return {**self.slack, **self.email, **self.webhook}

    def all_rules(self) -> dict[str, RuleSettings]:
        """Return the rules that are watched, by their names: the user's, and the defaults beside them."""
        given = {name: RuleSettings(kind=kind) for name, kind in DEFAULTS.items()} if self.defaults else {}
        return {name: rule for name, rule in (given | self.rules).items() if rule.enabled}


def alerts_contradictions(alerts: AlertsSettings) -> Iterator[str]:
    """Yield what can't be true at the same time."""
    kinds: dict[str, Mapping[str, Section]] = {
        "slack": alerts.slack,
        "email": alerts.email,
        "webhook": alerts.webhook,
    }
    for name in alerts.channels:
        places = [f"alerts.{kind}.{name}" for kind, channels in kinds.items() if name in channels]
        if len(places) > 1:
            yield f"{' and '.join(places)} have one name: a channel's name stands for one of them"
    for name, rule in alerts.rules.items():
        yield from _rule_contradictions(f"alerts.rules.{name}", rule, alerts.channels)
    for name, email in alerts.email.items():
        yield from _email_contradictions(f"alerts.email.{name}", email)


def _rule_contradictions(where: str, rule: RuleSettings, channels: Collection[str]) -> Iterator[str]:
    for channel in rule.channels:
        if channel not in channels:
            yield f"{where}.channels names {channel!r}, and there is no such channel"
    if rule.kind == "failure_rate" and rule.threshold is not None and rule.threshold > 1:
        yield f"{where}.threshold is a share of 1, like 0.25"


def _email_contradictions(where: str, email: EmailSettings) -> Iterator[str]:
    if (email.user is None) != (email.password is None):
        yield f"{where}.user and password belong together: one of them is missing"
    if email.user is not None and email.tls == "none":
        yield f'{where}.tls = "none" would send the password for everybody to read'
