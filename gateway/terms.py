"""Terms: how a source treats what it gets, beside what its recipe says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from gateway.limits import Limits
    from gateway.recipes.published import KeyAccess
    from gateway.shaping import Shaper

Policy = Literal["quarantine", "flag", "reject"]


class Terms(TypedDict, total=False):
    """What may be said of a source, each by name.

    Attributes:
        public_url: under which the sender knows the gateway, for recipes that sign `{url}`.
        policy: what becomes of a genuine delivery with unsound data: `quarantine` it, `flag` an event that
            only misses its schema, or `reject` the request with 422.
        allow_unsigned: let requests in that carry no signature at all. One that is there must match.
        tolerance: seconds that a signed timestamp may be off, both ways, instead of the recipe's.
        max_body: instead of the recipe's limit; a compressed body counts as it was before.
        learn: take the first secret that the sender brings, where a handshake of the recipe does.
        by_body: recognise deliveries without an id or a signed time by their bodies.
        window: seconds for which a delivery is recognised, None for as long as the broker does.
        limits: who may send, and how much.
        reply_timeout: seconds that its senders wait for what a run answers, None where they don't.
        tenants: whether tenants have secrets of their own; `required` where every request names one.
        access: how keys are got at that the provider publishes.
        shaper: takes values out of events, or gives them other names, before they are stored.
    """

    public_url: str | None
    policy: Policy
    allow_unsigned: bool
    tolerance: float | None
    max_body: int | None
    learn: bool
    by_body: bool
    window: float | None
    limits: Limits
    reply_timeout: float | None
    tenants: bool | Literal["required"]
    access: KeyAccess | None
    shaper: Shaper | None
