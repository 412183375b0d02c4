from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.recipes.presets import preset
from gateway.recipes.recipe import parse_recipe
from gateway.recipes.samples import body_of, find_sample
from gateway.recipes.sign import sign
from gateway.schemas import SchemaStore
from gateway.verdict import Accepted, Quarantined, Refused
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret
from tidemill.kernel.subjects import delivery_key

NOW = 1_793_000_000.5
SECRET = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
STORE = SchemaStore()
FORM = "application/x-www-form-urlencoded"


def intake(name: str = "github", source: str | None = None, **options: Any) -> Intake:
    return Intake(
        source or name, preset(name), secrets=options.pop("secrets", (SECRET,)), schemas=STORE, **options
    )


def request(body: bytes, headers: dict[str, str], *, extra: Sequence[tuple[bytes, bytes]] = ()) -> Inbound:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Inbound("POST", "/webhooks/x", "", [*raw, *extra], body, NOW)


def delivery(
    body: bytes, event_type: str = "push", name: str = "github", event_id: str = "d-1", **headers: str
) -> Inbound:
    signed = sign(preset(name), SECRET, body, event_type=event_type, event_id=event_id, timestamp=NOW)
    return request(body, signed | {key.replace("_", "-"): value for key, value in headers.items()})


def sample(event_type: str, name: str = "github") -> bytes:
    return body_of(preset(name), find_sample(name, event_type), event_id="evt_1", timestamp=NOW)


def accepted(verdict: object) -> Envelope:
    assert isinstance(verdict, Accepted), verdict
    return verdict.envelope


def quarantined(verdict: object) -> tuple[str, str | None, Envelope]:
    assert isinstance(verdict, Quarantined), verdict
    return verdict.reason.code, verdict.reason.path, verdict.envelope


def refused(verdict: object) -> tuple[int, str]:
    assert isinstance(verdict, Refused), verdict
    return verdict.status, verdict.check


def test_a_github_push_becomes_an_event() -> None:
    body = sample("push")
    verdict = intake().receive(delivery(body))
    event = accepted(verdict)
    assert (event.id, event.source, event.type, event.subject) == (
        "d-1",
        "github",
        "github.push",
        "refs/heads/main",
    )
    assert event.time == datetime.fromtimestamp(NOW, UTC)
    assert event.dataschema == "tidemill:schemas/github/push/1"
    assert event.deliverykey == delivery_key("github", "d-1")
    assert event.raw == body
    assert event.value is None
    assert event.data == orjson.loads(body)
    assert event.headers["x-github-event"] == "push"
    assert verdict == Accepted(event, 0, "tidemill:schemas/github/push/1")


def test_names_of_a_source_of_one_s_own_and_a_tenant() -> None:
    event = accepted(
        intake("github", "code").receive(delivery(sample("issues.opened"), "issues"), tenant="acme")
    )
    assert (event.source, event.type) == ("code/acme", "code.issues.opened")
    assert event.deliverykey == delivery_key("code/acme", "d-1")
    assert event.subject == "118"
    assert event.time == datetime(2026, 10, 26, 7, 41, 12, tzinfo=UTC)
    assert event.dataschema == "tidemill:schemas/github/issues/1"


@pytest.mark.parametrize(
    ("name", "event_type", "event_id", "subject"),
    [
        ("stripe", "charge.refunded", "evt_1", "ch_3QF7LkXz8sT4wYp21HiJkLmN"),
        ("standard-webhooks", "contact.created", "d-1", "con_7Kq2mVx9Rt4Lw8"),
    ],
)
def test_types_ids_and_times_of_other_presets(
    name: str, event_type: str, event_id: str, subject: str
) -> None:
    event = accepted(intake(name, "shop").receive(delivery(sample(event_type, name), event_type, name)))
    assert (event.type, event.id, event.subject) == (f"shop.{event_type}", event_id, subject)
    assert int(event.time.timestamp()) == int(NOW)


def test_a_form_encoded_github_delivery() -> None:
    document = find_sample("github", "issues.opened")
    body = urlencode({"payload": json.dumps(document)}).encode()
    event = accepted(intake().receive(delivery(body, "issues", Content_Type=FORM)))
    assert event.type == "github.issues.opened"
    assert event.data == document
    assert event.raw == body
    assert event.datacontenttype == FORM
    assert event.dataschema == "tidemill:schemas/github/issues/1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "data_missing"),
        (b"other=1", "data_missing"),
        (b"payload=%7B", "not_json"),
        (b"payload=%FF", "bad_encoding"),
        (b"payload=\xff", "bad_encoding"),
        (b"payload={}&payload={}", "duplicate_key"),
        (b"&".join(b"a%d=1" % number for number in range(1100)), "not_form"),
        (b'payload={"a":1,"a":2}', "duplicate_key"),
    ],
)
def test_an_unsound_form_is_quarantined(body: bytes, code: str) -> None:
    found, _, event = quarantined(intake().receive(delivery(body, Content_Type=FORM)))
    assert found == code
    assert event.raw == body


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (b"not json", "not_json", None),
        (b"", "not_json", None),
        (b'{"a":NaN}', "not_finite", None),
        (b'{"a":1e400}', "not_finite", None),
        (b'{"ref":1,"x":{"id":1,"id":2}}', "duplicate_key", "$.x.id"),
        (b'{"x":' + b"[" * 70 + b"]" * 70 + b"}", "too_deep", "$.x" + "[0]" * 63),
        (b"\xef\xbb\xbf{}", "bad_encoding", None),
        (b'"\xff"', "bad_encoding", None),
        (b"\x1f\x8b\x08\x00", "bad_encoding", None),
        (b"[]", "schema", "$"),
        (b"{}", "schema", "$"),
    ],
)
def test_a_genuine_but_unsound_delivery_is_quarantined(body: bytes, code: str, path: str | None) -> None:
    found, place, event = quarantined(intake().receive(delivery(body)))
    assert (found, place) == (code, path)
    assert (event.type, event.id, event.raw) == ("github.push", "d-1", body)
    assert event.deliverykey == delivery_key("github", "d-1")
    assert event.dataschema is None


def test_a_schema_misfit_names_its_path() -> None:
    document = find_sample("github", "push")
    document["commits"][0]["id"] = "not a hash"
    code, path, event = quarantined(intake().receive(delivery(json.dumps(document).encode())))
    assert (code, path) == ("schema", "$.commits[0].id")
    assert event.subject == "refs/heads/main"


def test_the_policies_of_a_source() -> None:
    misfit, garbage = delivery(b"{}"), delivery(b"{")
    flagging, rejecting = intake(policy="flag"), intake(policy="reject")
    event = accepted(flagging.receive(misfit))
    assert str(event.extensions["schemaproblem"]).startswith("$: ")
    assert event.dataschema is None
    assert quarantined(flagging.receive(garbage))[0] == "not_json"
    assert refused(rejecting.receive(misfit)) == (422, "schema")
    assert refused(rejecting.receive(garbage)) == (422, "not_json")
    assert accepted(rejecting.receive(delivery(sample("push")))).type == "github.push"


def test_an_event_without_a_schema_is_accepted_unvalidated() -> None:
    verdict = intake().receive(delivery(b'{"action":"started"}', "watch"))
    assert accepted(verdict).type == "github.watch.started"
    assert accepted(verdict).dataschema is None
    assert isinstance(verdict, Accepted)
    assert verdict.schema is None


def test_a_declared_type_that_is_missing_or_unusable_quarantines() -> None:
    def without(name: str, **headers: str) -> Inbound:
        kept = [(key, value) for key, value in delivery(b"{}").headers if key != name.encode()]
        return Inbound(
            "POST", "/", "", [*kept, *((k.encode(), v.encode()) for k, v in headers.items())], b"{}", NOW
        )

    code, _, event = quarantined(intake().receive(without("x-github-event")))
    assert (code, event.type) == ("missing_type", "github.received")
    for odd in ("x" * 201, "a\x00b"):
        code, _, event = quarantined(intake().receive(without("x-github-event", **{"x-github-event": odd})))
        assert (code, event.type) == ("bad_type", "github.received")


def test_a_source_that_declares_no_type_receives() -> None:
    recipe = parse_recipe({"verify": {"signature": {"at": "header:X-Sig"}}}, name="acme")
    acme = Intake("acme", recipe, secrets=(SECRET,), schemas=STORE)
    digest = hmac.digest(SECRET.reveal().encode(), b"[1]", "sha256")
    event = accepted(acme.receive(request(b"[1]", {"x-sig": digest.hex()})))
    assert (event.type, event.data) == ("acme.received", [1])


def test_equal_bodies_without_id_and_time_are_two_events_unless_the_source_says_otherwise() -> None:
    recipe = parse_recipe({"verify": {"signature": {"at": "header:X-Sig"}}}, name="acme")
    signed = {"x-sig": hmac.digest(SECRET.reveal().encode(), b"[1]", "sha256").hex()}
    own, by_body = (
        Intake("acme", recipe, secrets=(SECRET,), schemas=STORE, by_body=on) for on in (False, True)
    )
    first, second = (accepted(own.receive(request(b"[1]", signed))) for _ in range(2))
    assert first.id != second.id
    assert first.deliverykey != second.deliverykey
    found = {accepted(by_body.receive(request(b"[1]", signed))).id for _ in range(2)}
    assert found == {"sha256-" + hashlib.sha256(b"\n[1]").hexdigest()}


def test_a_delivery_that_could_not_be_stored_keeps_its_id_until_it_is() -> None:
    recipe = parse_recipe({"verify": {"signature": {"at": "header:X-Sig"}}}, name="acme")
    acme = Intake("acme", recipe, secrets=(SECRET,), schemas=STORE)
    again = request(b"[1]", {"x-sig": hmac.digest(SECRET.reveal().encode(), b"[1]", "sha256").hex()})
    first = accepted(acme.receive(again)).id
    acme.derived.keep(b"[1]", first)
    assert accepted(acme.receive(again)).id == first
    acme.derived.forget(b"[1]")
    assert accepted(acme.receive(again)).id != first


def test_without_an_id_equal_bodies_signed_at_other_times_are_other_events() -> None:
    recipe = parse_recipe(
        {
            "verify": {
                "signature": {"at": "header:X-Sig"},
                "timestamp": {"at": "header:X-Time"},
                "signed": "{timestamp}.{body}",
            }
        },
        name="acme",
    )
    acme = Intake("acme", recipe, secrets=(SECRET,), schemas=STORE)
    ids = []
    for second in (0, 1, 1):
        headers = sign(recipe, SECRET, b"{}", event_type="x", event_id="x", timestamp=NOW + second)
        ids.append(accepted(acme.receive(request(b"{}", headers))).id)
    assert ids[0] != ids[1] == ids[2]


@pytest.mark.parametrize("odd", ["a\nb", "é", "x" * 201])
def test_an_id_that_doesn_t_fit_into_a_header_is_replaced_by_its_hash(odd: str) -> None:
    body = json.dumps({"id": odd, "type": "a"}).encode()
    event = accepted(intake("stripe").receive(delivery(body, "a", "stripe")))
    assert event.id == "sha256-" + hashlib.sha256(odd.encode()).hexdigest()


def test_data_may_stand_inside_of_the_body() -> None:
    recipe = parse_recipe(
        {"event": {"type": "{body:kind}", "data": ["body:payload.item", "body:payload"]}}, name="acme"
    )
    acme = Intake("acme", recipe, secrets=(), schemas=STORE, allow_unsigned=True)
    event = accepted(acme.receive(request(b'{"kind":"x","payload":{"item":{"a":1}}}', {})))
    assert (event.type, event.data) == ("acme.x", {"a": 1})
    code, _, event = quarantined(acme.receive(request(b'{"kind":"x"}', {})))
    assert code == "data_missing"
    assert refused(acme.receive(request(b"a=1", {"content-type": FORM}))) == (415, "content_type")


def test_content_types_and_encodings_that_can_t_be_read() -> None:
    body = sample("push")
    assert refused(intake().receive(delivery(body, Content_Type="text/plain"))) == (415, "content_type")
    assert refused(intake().receive(delivery(body, Content_Encoding="br"))) == (415, "content_encoding")
    assert refused(intake("stripe").receive(delivery(b"a=1", "a", "stripe", Content_Type=FORM))) == (
        415,
        "content_type",
    )
    bare = [(key, value) for key, value in delivery(body).headers if key != b"content-type"]
    assert (
        accepted(intake().receive(Inbound("POST", "/", "", bare, body, NOW))).datacontenttype
        == "application/json"
    )


def test_signatures_are_asked_for() -> None:
    body = sample("push")
    assert refused(intake().receive(request(body, {}))) == (401, "signature_missing")
    tampered = Inbound("POST", "/", "", delivery(body).headers, body + b" ", NOW)
    assert refused(intake().receive(tampered)) == (401, "signature_mismatch")
    assert refused(intake(secrets=lambda: ()).receive(delivery(body))) == (401, "secret_missing")


def test_unsigned_deliveries_only_where_they_are_allowed() -> None:
    with pytest.raises(SettingsError, match="would let in anybody"):
        Intake("open", parse_recipe({}, name="open"), secrets=(), schemas=STORE)
    lax = intake(allow_unsigned=True)
    verdict = lax.receive(request(sample("push"), {"X-GitHub-Event": "push"}))
    assert accepted(verdict).type == "github.push"
    assert isinstance(verdict, Accepted)
    assert verdict.secret == -1
    forged = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
    assert refused(lax.receive(request(sample("push"), forged))) == (401, "signature_mismatch")


def test_secrets_are_asked_for_at_each_request() -> None:
    present: list[Secret] = []
    source = intake(secrets=lambda: present)
    assert isinstance(source.receive(delivery(sample("push"))), Refused)
    present += [Secret("old"), SECRET]
    verdict = source.receive(delivery(sample("push")))
    assert isinstance(verdict, Accepted)
    assert verdict.secret == 1


def test_headers_stay_without_credentials_and_duplicates_are_joined() -> None:
    extra = [
        (b"authorization", b"Bearer x"),
        (b"cookie", b"a=1"),
        (b"proxy-authorization", b"x"),
        (b"x-api-key", b"x"),
        (b"x-many", b"1"),
        (b"x-many", b"2"),
        (b"x-latin", b"caf\xe9"),
    ]
    plain = delivery(sample("push"))
    event = accepted(intake().receive(Inbound("POST", "/", "", [*plain.headers, *extra], plain.body, NOW)))
    assert event.headers["x-many"] == "1, 2"
    assert event.headers["x-latin"] == "café"
    assert not {"authorization", "cookie", "proxy-authorization", "x-api-key"} & event.headers.keys()


@pytest.mark.parametrize(
    ("parent", "state", "found"),
    [
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "a=1",
            ("00-4bf92f3577b34da6a3ce929d0e0e4736", "a=1"),
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "x" * 600,
            ("00-4bf92f3577b34da6a3ce929d0e0e4736", None),
        ),
        ("garbage", "a=1", (None, None)),
    ],
)
def test_trace_context_is_copied_when_it_is_sound(
    parent: str, state: str, found: tuple[str | None, str | None]
) -> None:
    event = accepted(intake().receive(delivery(sample("push"), traceparent=parent, tracestate=state)))
    assert ((event.traceparent or "")[:35] or None, event.tracestate) == found


def test_body_limits() -> None:
    assert intake("github").max_body == 25 * 1024 * 1024
    assert intake("stripe").max_body == 1024 * 1024
    assert intake("stripe", max_body=5).max_body == 5


_INTAKES = [
    intake(name, policy=policy, allow_unsigned=unsigned)
    for name in ("github", "standard-webhooks", "stripe")
    for policy in ("quarantine", "flag", "reject")
    for unsigned in (False, True)
]
_HEADER_NAMES = st.sampled_from(
    [
        b"content-type",
        b"content-encoding",
        b"x-github-event",
        b"x-github-delivery",
        b"webhook-id",
        b"webhook-timestamp",
        b"traceparent",
        b"tracestate",
        b"x-hub-signature-256",
        b"stripe-signature",
        b"webhook-signature",
        b"\xff",
    ]
) | st.binary(min_size=1, max_size=5)
_HEADER_VALUES = st.binary(max_size=30) | st.sampled_from(
    [FORM.encode(), b"application/json", b"push", b"issues", b"1"]
)
_BODIES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=40).map(lambda tail: b"payload=" + tail),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["type", "id", "created", "action", "data", "object", "timestamp", "ref"]),
                inner,
            )
        ),
        max_leaves=8,
    ).map(lambda document: json.dumps(document).encode()),
)


@given(
    source=st.sampled_from(_INTAKES),
    genuine=st.booleans(),
    headers=st.lists(st.tuples(_HEADER_NAMES, _HEADER_VALUES), max_size=6),
    body=_BODIES,
    tenant=st.none() | st.text(max_size=5),
)
def test_any_bytes_get_a_verdict(
    source: Intake, *, genuine: bool, headers: list[tuple[bytes, bytes]], body: bytes, tenant: str | None
) -> None:
    signature = delivery(body, "push", source.recipe.name).headers if genuine else []
    own = {name for name, _ in headers} & {b"content-type", b"x-github-event"}
    kept = [(name, value) for name, value in signature if name not in own]
    verdict = source.receive(Inbound("POST", "/", "", [*kept, *headers], body, NOW), tenant)
    assert isinstance(verdict, Accepted | Quarantined | Refused)
    if isinstance(verdict, Refused):
        assert verdict.status in {401, 415, 422}
        return
    assert verdict.envelope.raw == body
    assert verdict.envelope.id.isprintable()
    assert verdict.envelope.id.isascii()
    assert Envelope.from_frame(verdict.envelope.to_frame()) == verdict.envelope


@pytest.mark.npm
def test_all_of_github_s_examples_are_accepted_and_refused_with_one_byte_changed(
    octokit_examples: list[tuple[str, dict[str, Any]]],
) -> None:
    assert len(octokit_examples) == 329
    github = intake()
    for number, (event_type, example) in enumerate(octokit_examples):
        body = orjson.dumps(example)
        inbound = delivery(body, event_type, event_id=f"d-{number}")
        event = accepted(github.receive(inbound))
        action = example.get("action")
        assert event.type == f"github.{event_type}" + (f".{action}" if action else "")
        assert event.raw == body
        place = number * 7919 % len(body)
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        tampered = Inbound("POST", "/", "", inbound.headers, changed, NOW)
        assert refused(github.receive(tampered)) == (401, "signature_mismatch")
