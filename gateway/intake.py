"""The intake: from the bytes of a request to a verdict, without any I/O.

    handshake? ─▶ verify raw bytes ─▶ decompress ─▶ read ─▶ handshake? ─▶ split ─▶ name ─▶ validate ─▶ verdict

One `Intake` serves one configured source. `receive` is total: whatever the bytes, it returns a verdict.
The caller caps the body at `max_body` while it reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack

import orjson

from gateway.arrival import Arrival, decompressed
from gateway.compressed import CODINGS
from gateway.derived import DerivedIds
from gateway.handshakes import Handshaker, Means
from gateway.inbound import Inbound
from gateway.kept_headers import SECRET_HEADERS, kept_headers, trace_context
from gateway.keys.wanted import Wanted
from gateway.limits import NO_LIMITS
from gateway.mediatype import media_type
from gateway.normalise import RECEIVED, Delivery, Identity, Normaliser, type_problem
from gateway.reading import NOTHING, BodyReader, Content
from gateway.reason import Reason
from gateway.recipes.opening import Opener
from gateway.recipes.refusal import MISMATCH, NO_SECRET
from gateway.recipes.verify import Verification, Verified, secret_headers
from gateway.splitting import MAX_ITEMS, Splitter
from gateway.terms import Policy, Terms
from gateway.verdict import Accepted, Batch, Quarantined, Refused, Verdict
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.jetstream.blobs import blob_name
from tidemill.kernel.subjects import delivery_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.recipes.recipe import Recipe
    from gateway.schemas import SchemaStore
    from gateway.tenants import Ring
    from tidemill.kernel.settings.secrets import Secret

    _Outcome = Verified | Refused | Wanted | None

__all__ = ["Inbound", "Intake", "Policy"]

UNSIGNED: Final = -1
PROBLEM: Final = "schemaproblem"
_UNSUPPORTED_MEDIA_TYPE: Final = 415
_UNPROCESSABLE: Final = 422
_UNSIGNED: Final = Refused(
    401, "signature_missing", "The request carries no signature that this source knows."
)
_BAD_REQUEST: Final = 400
BATCH: Final = "batchid"
BATCH_BLOB: Final = "batchblob"


class Intake:
    """Judges the requests of one source.

    Attributes:
        source: the configured name.
        recipe: how the source signs and names its webhooks.
        max_body: the most bytes that a body may have.
        limits: who may send, and how much.
        methods: those besides POST in which handshakes come.
        derived: the ids of deliveries without one.
        window: seconds for which a delivery is recognised, None for as long as the broker does.
        reply_timeout: seconds that senders wait for what a run answers, None where they don't.
        learns: whether the first secret that the sender brings is taken.
        tenants: whether tenants have secrets of their own; `required` where there is nobody else.
    """

    def __init__(
        self,
        source: str,
        recipe: Recipe,
        *,
        secrets: Callable[[], Sequence[Secret]] | Sequence[Secret],
        schemas: SchemaStore,
        verify_tokens: Callable[[], Sequence[Secret]] | Sequence[Secret] = (),
        **terms: Unpack[Terms],
    ) -> None:
        """Compile a source.

        Args:
            source: the configured name.
            recipe: the preset's, or one's own.
            secrets: the active secrets, or a function that returns them at each request.
            schemas: where the schemas of events are looked up.
            verify_tokens: what senders show in handshakes, as for `secrets`.
            terms: see `Terms`.

        Raises:
            SettingsError: the recipe verifies nothing and `allow_unsigned` is off; or a schema is broken.
        """
        public_url = terms.get("public_url")
        self.source = source
        self.recipe = recipe
        self.max_body = terms.get("max_body") or recipe.body_limit
        self.limits = terms.get("limits", NO_LIMITS)
        self.window = terms.get("window")
        self.reply_timeout = terms.get("reply_timeout")
        self.learns = terms.get("learn", False)
        self.tenants = terms.get("tenants", False)
        self.derived = DerivedIds(by_body=terms.get("by_body", False))
        self._secrets = secrets if callable(secrets) else lambda: secrets
        self._allow_unsigned = terms.get("allow_unsigned", False)
        self._policy = terms.get("policy", "quarantine")
        self._shaper = terms.get("shaper")
        means = Means(
            self._secrets,
            verify_tokens if callable(verify_tokens) else lambda: verify_tokens,
            public_url,
            max(1, int(self.limits.rate * 60)) if self.limits.rate else None,
            self.learns,
        )
        self._handshaker = Handshaker(recipe.handshake, means) if recipe.handshake else None
        self.methods = self._handshaker.methods if self._handshaker else frozenset()
        self._verification = Verification(
            recipe,
            tolerance=terms.get("tolerance"),
            public_url=public_url,
            tokens=means.verify_tokens,
            access=terms.get("access"),
        )
        self._reader = BodyReader(recipe.event.data, recipe.reads)
        self._opener = Opener(recipe.encrypted) if recipe.encrypted else None
        self._unkept = SECRET_HEADERS | secret_headers(recipe)
        self._splitter = Splitter(recipe.event.split) if recipe.event.split else None
        self._normaliser = Normaliser(recipe.event, self.derived.of)
        self._schemas, self._schema_sources = schemas, (source, recipe.name)
        self._check()

    def _check(self) -> None:
        """Find out at the start what would be wrong with every request."""
        if not self.recipe.verify and not self._allow_unsigned:
            raise SettingsError(
                f"source {self.source!r} would let in anybody: its recipe verifies nothing",
                hint="give the recipe a `verify` table, or set allow_unsigned = true",
            )
        self._schemas.prepare(self._schema_sources)

    def receive(self, inbound: Inbound, tenant: str | None = None, ring: Ring | None = None) -> Verdict:
        """Judge a request; never raises, whatever its bytes.

        With `ring`, which is the tenant's, none of the source's secrets counts. Where a verdict takes
        published keys that aren't at hand, it is `Wanted`: fetch them, ask again.
        """
        if self._handshaker is not None:
            shaken = self._handshaker.unsigned(inbound, ring.secrets if ring is not None else None)
            if shaken is not None:
                return shaken
        media = media_type(inbound.header(b"content-type"))
        kind = self._reader.kind_of(media)
        if kind is None:
            return Refused(
                _UNSUPPORTED_MEDIA_TYPE, "content_type", "This source can't read that content type."
            )
        coding = inbound.header(b"content-encoding")
        if coding and coding.lower() != b"identity":
            return self._receive_compressed(
                Arrival(inbound, media, kind, tenant, ring), coding.strip().lower()
            )
        return self._receive_plain(Arrival(inbound, media, kind, tenant, ring))

    def _receive_compressed(self, arrival: Arrival, coding: bytes) -> Verdict:
        """Verify over the bytes that the recipe says, and read what they were before compression."""
        if coding not in CODINGS:
            return Refused(
                _UNSUPPORTED_MEDIA_TYPE, "content_encoding", "Only gzip and deflate can be decompressed."
            )
        if self.recipe.signs_decoded:
            decoded = decompressed(arrival, coding, self.max_body)
            if isinstance(decoded, Reason):
                return Refused(_BAD_REQUEST, "content_encoding", decoded.detail)
            return decoded if isinstance(decoded, Refused) else self._receive_plain(decoded)
        verified = self._verify(arrival)
        if not isinstance(verified, Verified):
            return verified
        decoded = decompressed(arrival, coding, self.max_body)
        if isinstance(decoded, Reason):
            return self._by_policy(self._unread(arrival, verified, decoded))
        return decoded if isinstance(decoded, Refused) else self._judge(decoded, verified)

    def _receive_plain(self, arrival: Arrival) -> Verdict:
        verified = self._verify(arrival)
        return self._judge(arrival, verified) if isinstance(verified, Verified) else verified

    def _by_policy(self, verdict: Verdict) -> Verdict:
        if self._policy != "reject":
            return verdict
        items = verdict.items if isinstance(verdict, Batch) else (verdict,)
        for item in items:
            if isinstance(item, Quarantined):
                return Refused(_UNPROCESSABLE, item.reason.code, item.reason.detail)
        return verdict

    def _verify(self, arrival: Arrival) -> Verified | Refused | Wanted:
        secrets = self._secrets_of(arrival)
        outcome = self._verification.verify(arrival.inbound, secrets)
        if arrival.ring is not None:
            outcome = _alike(outcome, arrival.ring)
        if type(outcome) is Verified:
            return _placed(outcome, secrets)
        if outcome is not None:
            return outcome
        if self._allow_unsigned:
            return Verified(UNSIGNED)
        return _UNSIGNED

    def _secrets_of(self, arrival: Arrival) -> Sequence[Secret]:
        return self._secrets() if arrival.ring is None else arrival.ring.secrets

    def _judge(self, arrival: Arrival, verified: Verified) -> Verdict:
        """Judge a genuine request."""
        content = self._reader.read(arrival.inbound.body, arrival.kind, arrival.media)
        if self._opener is not None and not isinstance(content, Reason):
            content = self._opener.open(content, self._secrets_of(arrival))
        if isinstance(content, Reason):
            return self._by_policy(self._unread(arrival, verified, content))
        if self._handshaker is not None:
            ring = arrival.ring
            shaken = self._handshaker.signed(arrival.inbound, content, None if ring is None else ring.secrets)
            if shaken is not None:
                return shaken
        items = self._splitter.items(content) if self._splitter is not None else None
        if items is not None:
            return self._by_policy(self._judge_batch(arrival, verified, content, items))
        delivery = Delivery(arrival.inbound, content, verified, content.document)
        verdict = self._judge_event(arrival, delivery, content.data)
        return verdict if self._policy != "reject" else self._by_policy(verdict)

    def _judge_batch(
        self, arrival: Arrival, verified: Verified, content: Content, items: list[Any]
    ) -> Batch | Quarantined:
        """Judge each item of a batch by itself."""
        if len(items) > MAX_ITEMS:
            detail = f"The batch has {len(items)} items; at most {MAX_ITEMS} can be stored together."
            return self._unread(arrival, verified, Reason("too_many_items", detail))
        base, raw = self.derived.of(arrival.inbound, verified), arrival.inbound.body
        key = "" if self._shaper else delivery_key(self._source_of(arrival), base)
        origin: dict[str, str | int | bool] = {BATCH: base}
        if key:
            origin[BATCH_BLOB] = blob_name(key, raw)
        judged = [
            self._judge_event(
                arrival, Delivery(arrival.inbound, content, verified, item, f"{base}-{index}"), item, origin
            )
            for index, item in enumerate(items)
        ]
        return Batch(tuple(judged), base, key, raw)

    def _judge_event(
        self,
        arrival: Arrival,
        delivery: Delivery,
        data: Any,
        origin: dict[str, str | int | bool] | None = None,
    ) -> Accepted | Quarantined:
        """Judge one event; `origin` says which delivery it is an item of."""
        identity = self._normaliser.identify(delivery)
        attributes = self._attributes(arrival, delivery, identity)
        if origin:
            attributes |= {"raw": orjson.dumps(data), "value": None, "extensions": origin}
        if self._shaper is not None:
            attributes |= self._shaper.attributes(data)
        reason = self._nameless(identity)
        if reason is not None:
            return Quarantined(Envelope.sound(attributes), reason)
        types = (identity.provider_type, identity.base_type)
        judged = self._schemas.judge(self._schema_sources, types, data)
        reason = judged.reason
        if reason is None:
            name = judged.identifier
            attributes["dataschema"] = name
            return Accepted(Envelope.sound(attributes), delivery.verified.secret, name)
        if self._policy != "flag":
            return Quarantined(Envelope.sound(attributes), reason)
        attributes["extensions"] = {
            **attributes.get("extensions", {}),
            PROBLEM: f"{reason.path}: {reason.detail}",
        }
        return Accepted(Envelope.sound(attributes), delivery.verified.secret)

    def _unread(self, arrival: Arrival, verified: Verified, reason: Reason) -> Quarantined:
        """Keep a genuine delivery whose body can't be read."""
        delivery = Delivery(arrival.inbound, NOTHING, verified, NOTHING.document)
        identity = self._normaliser.identify(delivery)
        return Quarantined(Envelope.sound(self._attributes(arrival, delivery, identity)), reason)

    def _nameless(self, identity: Identity) -> Reason | None:
        if identity.provider_type is None:
            declared = self._normaliser.declares_type
            return Reason("missing_type", "The event's type is missing.") if declared else None
        problem = type_problem(identity.provider_type)
        return Reason("bad_type", problem) if problem else None

    def _attributes(self, arrival: Arrival, delivery: Delivery, identity: Identity) -> dict[str, Any]:
        source = self._source_of(arrival)
        headers = kept_headers(delivery.inbound, self._unkept)
        return {
            "id": identity.id,
            "source": source,
            "type": self._type(identity),
            "subject": identity.subject,
            "time": identity.time,
            "datacontenttype": arrival.media.name,
            "deliverykey": delivery_key(source, identity.id),
            "headers": headers,
            "value": delivery.content.value,
            "tenant": arrival.tenant,
            "raw": delivery.inbound.body,
            **trace_context(headers),
        }

    def _source_of(self, arrival: Arrival) -> str:
        return f"{self.source}/{arrival.tenant}" if arrival.tenant else self.source

    def _type(self, identity: Identity) -> str:
        name = identity.provider_type
        return f"{self.source}.{RECEIVED if name is None or type_problem(name) else name}"


def _placed(verified: Verified, secrets: Sequence[Secret]) -> Verified:
    """Name the secret by its place in the settings, which stays when those before it run out."""
    if not 0 <= verified.secret < len(secrets):
        return verified  # by a key that its provider publishes
    place = secrets[verified.secret].place
    return verified if place in (None, verified.secret) else verified._replace(secret=place)


def _alike(outcome: _Outcome, ring: Ring) -> _Outcome:
    """Make refusals the same whether there is such a tenant or not: who has no secret learns no names."""
    if isinstance(outcome, Verified | Wanted):
        return outcome if ring.known else MISMATCH
    unknown = isinstance(outcome, Refused) and outcome.check in (MISMATCH.check, NO_SECRET)
    return MISMATCH if unknown else outcome
