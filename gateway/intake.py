"""The intake: from the bytes of a request to a verdict, without any I/O.

    verify raw bytes ─▶ read ─▶ name ─▶ validate ─▶ verdict

One `Intake` serves one configured source. `receive` is total: whatever the bytes, it returns a verdict.
The caller caps the body at `max_body` while it reads it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

from gateway.inbound import Inbound
from gateway.mediatype import MediaType, media_type
from gateway.normalise import RECEIVED, Delivery, Identity, Normaliser, type_problem
from gateway.reading import NOTHING, BodyReader
from gateway.recipes.verify import Verification, Verified, refused
from gateway.verdict import Accepted, Quarantined, Reason, Refused, Verdict
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.subjects import delivery_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.recipes.recipe import Recipe
    from gateway.schemas import SchemaStore
    from tidemill.kernel.settings.secrets import Secret

__all__ = ["Inbound", "Intake", "Policy"]

Policy = Literal["quarantine", "flag", "reject"]
UNSIGNED: Final = -1
PROBLEM: Final = "schemaproblem"
_UNSUPPORTED_MEDIA_TYPE: Final = 415
_UNPROCESSABLE: Final = 422
_SECRET_HEADERS: Final = frozenset(
    {b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key"}
)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_TRACESTATE: Final = 512


class Intake:
    """Judges the requests of one source.

    Attributes:
        source: the configured name.
        recipe: how the source signs and names its webhooks.
        max_body: the most bytes that a body may have.
    """

    def __init__(  # noqa: PLR0913 - the settings of a source, each by name
        self,
        source: str,
        recipe: Recipe,
        *,
        secrets: Callable[[], Sequence[Secret]] | Sequence[Secret],
        schemas: SchemaStore,
        public_url: str | None = None,
        policy: Policy = "quarantine",
        allow_unsigned: bool = False,
        tolerance: float | None = None,
        max_body: int | None = None,
    ) -> None:
        """Compile a source.

        Args:
            source: the configured name.
            recipe: the preset's, or one's own.
            secrets: the active secrets, or a function that returns them at each request.
            schemas: where the schemas of events are looked up.
            public_url: under which the sender knows the gateway, for recipes that sign `{url}`.
            policy: what becomes of a genuine delivery with unsound data: `quarantine` it, `flag` an event
                that only misses its schema, or `reject` the request with 422.
            allow_unsigned: let requests in that carry no signature at all. One that is there must match.
            tolerance: seconds that a signed timestamp may be off, both ways, instead of the recipe's.
            max_body: instead of the recipe's limit.

        Raises:
            SettingsError: the recipe verifies nothing and `allow_unsigned` is off; or a schema is broken.
        """
        if not recipe.verify and not allow_unsigned:
            raise SettingsError(
                f"source {source!r} would let in anybody: its recipe verifies nothing",
                hint="give the recipe a `verify` table, or set allow_unsigned = true",
            )
        self.source = source
        self.recipe = recipe
        self.max_body = max_body or recipe.body_limit
        self._secrets = secrets if callable(secrets) else lambda: secrets
        self._allow_unsigned = allow_unsigned
        self._policy = policy
        self._verification = Verification(recipe, tolerance=tolerance, public_url=public_url)
        self._reader = BodyReader(recipe.event.data)
        self._normaliser = Normaliser(recipe.event)
        self._schemas = schemas
        self._schema_sources = (source, recipe.name)
        schemas.prepare(self._schema_sources)

    def receive(self, inbound: Inbound, tenant: str | None = None) -> Verdict:
        """Judge a request; never raises, whatever its bytes."""
        media = media_type(inbound.header(b"content-type"))
        problem = self._unreadable(inbound, media)
        if problem is not None:
            return problem
        verified = self._verify(inbound)
        if isinstance(verified, Refused):
            return verified
        verdict = self._judge(inbound, media, verified, tenant)
        if self._policy == "reject" and isinstance(verdict, Quarantined):
            return Refused(_UNPROCESSABLE, verdict.reason.code, verdict.reason.detail)
        return verdict

    def _unreadable(self, inbound: Inbound, media: MediaType) -> Refused | None:
        if not self._reader.accepts(media.reads_as):
            return Refused(
                _UNSUPPORTED_MEDIA_TYPE, "content_type", "This source can't read that content type."
            )
        coding = inbound.header(b"content-encoding")
        if coding and coding.lower() != b"identity":
            return Refused(_UNSUPPORTED_MEDIA_TYPE, "content_encoding", "Compressed bodies can't be read.")
        return None

    def _verify(self, inbound: Inbound) -> Verified | Refused:
        outcome = self._verification.verify(inbound, self._secrets())
        if outcome is not None:
            return outcome
        if self._allow_unsigned:
            return Verified(UNSIGNED)
        return refused("signature_missing", "The request carries no signature that this source knows.")

    def _judge(
        self, inbound: Inbound, media: MediaType, verified: Verified, tenant: str | None
    ) -> Accepted | Quarantined:
        content = self._reader.read(inbound.body, media.reads_as)
        reason = content if isinstance(content, Reason) else None
        delivery = Delivery(inbound, NOTHING if isinstance(content, Reason) else content, verified)
        identity = self._normaliser.identify(delivery)
        attributes = self._attributes(delivery, media, identity, tenant)
        reason = reason or self._nameless(identity)
        if reason is not None:
            return Quarantined(Envelope(**attributes), reason)
        types = (identity.provider_type, identity.base_type)
        judged = self._schemas.judge(self._schema_sources, types, delivery.content.data)
        reason = judged.reason
        if reason is None:
            name = judged.identifier
            return Accepted(Envelope(**attributes, dataschema=name), verified.secret, name)
        if self._policy != "flag":
            return Quarantined(Envelope(**attributes), reason)
        flag: dict[str, str | int | bool] = {PROBLEM: f"{reason.path}: {reason.detail}"}
        return Accepted(Envelope(**attributes, extensions=flag), verified.secret)

    def _nameless(self, identity: Identity) -> Reason | None:
        if identity.provider_type is None:
            declared = self._normaliser.declares_type
            return Reason("missing_type", "The event's type is missing.") if declared else None
        problem = type_problem(identity.provider_type)
        return Reason("bad_type", problem) if problem else None

    def _attributes(
        self, delivery: Delivery, media: MediaType, identity: Identity, tenant: str | None
    ) -> dict[str, Any]:
        source = f"{self.source}/{tenant}" if tenant else self.source
        headers = kept_headers(delivery.inbound)
        return {
            "id": identity.id,
            "source": source,
            "type": self._type(identity),
            "subject": identity.subject,
            "time": identity.time,
            "datacontenttype": media.name,
            "deliverykey": delivery_key(source, identity.id),
            "headers": headers,
            "value": delivery.content.value,
            "raw": delivery.inbound.body,
            **trace_context(headers),
        }

    def _type(self, identity: Identity) -> str:
        name = identity.provider_type
        return f"{self.source}.{RECEIVED if name is None or type_problem(name) else name}"


def kept_headers(inbound: Inbound) -> dict[str, str]:
    """Return the headers that stay on the event: all but those that carry credentials."""
    if not inbound.repeats:
        return {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in inbound.headers
            if name not in _SECRET_HEADERS
        }
    kept: dict[str, str] = {}
    for name, value in inbound.headers:
        if name in _SECRET_HEADERS:
            continue
        key, text = name.decode("latin-1"), value.decode("latin-1")
        kept[key] = f"{kept[key]}, {text}" if key in kept else text
    return kept


def trace_context(headers: dict[str, str]) -> dict[str, str]:
    """Return the W3C Trace Context of a request, empty where there is none or it is malformed."""
    parent = headers.get("traceparent", "")
    if not _TRACEPARENT.fullmatch(parent):
        return {}
    state = headers.get("tracestate", "")
    return {"traceparent": parent} | ({"tracestate": state} if 0 < len(state) <= _MAX_TRACESTATE else {})
