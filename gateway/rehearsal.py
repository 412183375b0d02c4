"""Rehearsals: a delivery that is signed as its sender would sign it, and takes the public listener's way in.

What comes of it is the real thing: it is verified, logged, stored and routed like any other. Only the
network is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

import httpx
import orjson

from gateway import posting
from gateway.recipes.samples import find_sample, sample_types
from gateway.sources import recipe_of
from tidemill.kernel.errors import ConflictError, PayloadError, SettingsError
from tidemill.kernel.services.tenant_record import NAME as TENANT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp

    from gateway.tenants import TenantRings
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.settings.secrets import Secret

MOST_TEXT: Final = 200
MOST_ANSWER: Final = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be sent.

    Attributes:
        source: a configured source.
        type: the provider's type, like `push`.
        document: what to send, written as the provider writes it; the type's sample without it.
        body: bytes to send as they are, instead.
        id: the delivery's id; a fresh one without it.
        tenant: send it to `/webhooks/<source>/<tenant>`.
        tamper: change a byte after it was signed.
    """

    source: str
    type: str
    document: Any = None
    body: bytes | None = None
    id: str | None = None
    tenant: str | None = None
    tamper: bool = False


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a delivery was answered with.

    Attributes:
        url: where it was posted to.
        sent_id: the id that it was given.
        status_code: the answer's.
        status: what became of it, `accepted`; empty where it wasn't taken, or brought nothing.
        event: the id of its first event, as far as the answer tells.
        answer: what the answer holds: its JSON, else its text.
    """

    url: str
    sent_id: str
    status_code: int
    status: str
    event: str
    answer: Any

    def document(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {
            "url": self.url,
            "sent_id": self.sent_id,
            "status_code": self.status_code,
            "status": self.status,
            "event": self.event,
            "answer": self.answer,
        }


class Rehearsals:
    """Sends samples to configured sources.

    Args:
        settings: where the sources stand.
        secrets: returns the secrets of a source that count now, also those that it has learned.
        rings: the secrets of tenants.
        public: the public listener's application.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: Callable[[str], Sequence[Secret]],
        rings: TenantRings,
        public: ASGIApp,
    ) -> None:
        self._settings = settings
        self._secrets = secrets
        self._rings = rings
        self._public = public

    @property
    def sources(self) -> list[str]:
        """The names of the configured sources."""
        return sorted(self._settings.sources)

    def tenants(self, source: str) -> bool:
        """Say whether tenants of a source have secrets of their own."""
        return bool(self._settings.source(source).tenants)

    def types(self, source: str) -> list[str]:
        """Return the types that there are samples of.

        Raises:
            NotFoundError: there is no such source.
        """
        return sample_types(self._sampled_as(source), posting.directories(self._settings))

    def sample(self, source: str, event_type: str) -> Any:
        """Return the document of a sample.

        Raises:
            NotFoundError: there is no such source, or no sample of the type.
        """
        name = event_type.removeprefix(f"{source}.")
        return find_sample(self._sampled_as(source), name, posting.directories(self._settings))

    async def send(self, order: Order, client: str) -> Rehearsed:
        """Send a delivery, and return what it was answered with.

        Args:
            order: what to send.
            client: the address that it comes from.

        Raises:
            NotFoundError: there is no such source, or no sample of the type.
            PayloadError: a part of the order can't be used.
            ConflictError: it can't be signed: there is no secret, or only the provider can.
        """
        _check(order)
        try:
            made = await self._made(order)
        except SettingsError as error:
            raise ConflictError(f"it can't be signed: {error.sentence}", hint=error.hint) from error
        body = posting.tampered(made.body) if order.tamper else made.body
        try:
            request = httpx.Request("POST", made.url, headers=made.headers, content=body)
        except (httpx.InvalidURL, ValueError) as error:
            raise PayloadError(
                f"it can't be written as a request: {error}", hint="leave out what isn't plain text"
            ) from error
        transport = httpx.ASGITransport(self._public, raise_app_exceptions=False, client=(client, 0))
        return await _rehearsed(made, await transport.handle_async_request(request))

    async def _made(self, order: Order) -> posting.Posting:
        return posting.build(
            self._settings,
            order.source,
            order.type,
            body=order.body,
            document=order.document,
            event_id=order.id,
            url=self._url(order),
            secret=await self._secret(order),
        )

    async def _secret(self, order: Order) -> Secret | None:
        """Return what to sign with; None leaves it to the settings, which say what is missing."""
        if order.tenant and self._settings.source(order.source).tenants:
            ring = await self._rings.ring(order.source, order.tenant)
            if not ring.known:
                raise SettingsError(
                    f"the tenant {order.tenant!r} of {order.source} has no secret",
                    hint=f"`tidemill tenants add {order.source} {order.tenant}` gives it one",
                )
            return ring.secrets[0]
        return next(iter(self._secrets(order.source)), None)

    def _url(self, order: Order) -> str:
        gateway = self._settings.gateway
        base = gateway.public_url or f"http://{gateway.listen}"
        parts = [base.rstrip("/"), "webhooks", order.source]
        return "/".join([*parts, *([quote(order.tenant, safe="")] if order.tenant else [])])

    def _sampled_as(self, source: str) -> str:
        recipe = recipe_of(source, self._settings.source(source))
        return posting.sampled_as(self._settings, source, recipe)


def _check(order: Order) -> None:
    """Refuse what no provider would send.

    Raises:
        PayloadError: type, id or tenant can't be used.
    """
    for name, text in (("type", order.type), ("id", order.id or "")):
        if len(text) > MOST_TEXT or not text.isprintable() or not text.isascii():
            raise PayloadError(f"{name}: it can't be used", hint=f"at most {MOST_TEXT} plain characters")
    if not order.type:
        raise PayloadError("type: it is missing", hint="write the provider's type, like push")
    if order.tenant and not TENANT.fullmatch(order.tenant):
        raise PayloadError("tenant: it is no name of a tenant", hint="letters, digits, '.', '_' and '-'")


async def _rehearsed(made: posting.Posting, answer: httpx.Response) -> Rehearsed:
    body = await answer.aread()
    return Rehearsed(
        made.url,
        made.event_id,
        answer.status_code,
        answer.headers.get("tidemill-status", ""),
        unquote(answer.headers.get("tidemill-event-id", "")),
        _told(body),
    )


def _told(body: bytes) -> Any:
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return body[:MOST_ANSWER].decode("utf-8", "replace")
