from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.samples import body_of, find_sample, new_id, sample_types
from gateway.schemas import BUNDLED, SchemaStore
from gateway.verdict import Accepted
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import NotFoundError, SettingsError
from tidemill.kernel.settings.secrets import Secret

GITHUB = {
    "check_run",
    "check_suite",
    "create",
    "issue_comment",
    "issues",
    "ping",
    "pull_request",
    "push",
    "release",
} | {
    "pull_request_review",
    "pull_request_review_comment",
    "workflow_run",
}
STRIPE = {
    "charge.refunded",
    "charge.succeeded",
    "checkout.session.completed",
    "customer.subscription.updated",
} | {
    "invoice.paid",
    "payment_intent.succeeded",
}
STORE = SchemaStore()


def write(folder: Path, name: str, schema: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return folder


def test_the_promised_events_have_schemas() -> None:
    known = {(source, event_type) for source, event_type, _, _ in STORE.known()}
    assert {event_type for source, event_type in known if source == "github"} == GITHUB
    assert {event_type for source, event_type in known if source == "stripe"} == STRIPE
    assert ("envelope", "1") not in known


@pytest.mark.parametrize(
    "path", sorted(BUNDLED.rglob("[0-9]*.json")), ids=lambda path: str(path.relative_to(BUNDLED))
)
def test_every_schema_is_sound_and_named_after_its_file(path: Path) -> None:
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"tidemill:schemas/{path.relative_to(BUNDLED).with_suffix('')}"
    assert schema["description"]


@pytest.mark.parametrize("name", preset_names())
def test_every_sample_fits_its_schema_and_every_schema_has_a_sample(name: str) -> None:
    bases = set()
    for event_type in sample_types(name):
        document = find_sample(name, event_type)
        schema = STORE.find((name,), (event_type, event_type.partition(".")[0]))
        assert schema is None or schema.check(document) is None
        bases |= {event_type, event_type.partition(".")[0]}
    assert {event_type for source, event_type, _, _ in STORE.known() if source == name} <= bases


def test_a_misfit_is_named_by_its_path() -> None:
    schema = STORE.find(("github",), ("push",))
    assert schema is not None
    document = find_sample("github", "push")
    del document["commits"][0]["id"]
    reason = schema.check(document)
    assert reason is not None
    assert (reason.code, reason.path) == ("schema", "$.commits[0]")
    assert '"id" is a required property' in reason.detail
    document["commits"][0]["id"] = 7
    reason = schema.check(document)
    assert reason is not None
    assert reason.path == "$.commits[0].id"
    wholes: tuple[Any, ...] = (None, 7, [], "text")
    for whole in wholes:
        reason = schema.check(whole)
        assert reason is not None
        assert reason.path == "$"


def test_the_envelope_s_schema_accepts_what_the_envelope_writes() -> None:
    validator = jsonschema.Draft202012Validator(json.loads((BUNDLED / "envelope/1.json").read_text()))
    bare = Envelope(id="1", source="s", type="t")
    full = Envelope(
        id="1",
        source="github/acme",
        type="github.issues.opened",
        subject="7",
        time=datetime.now(UTC),
        datacontenttype="application/x-www-form-urlencoded",
        dataschema="tidemill:schemas/github/issues/1",
        deliverykey="k",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        tracestate="a=1",
        replayof="0",
        extensions={"partition": 3, "flagged": True},
        headers={"x-a": "1"},
        value=[1, None],
        raw=b"x",
    )
    for envelope in (bare, full):
        validator.validate(orjson.loads(orjson.dumps(envelope.facts())))
    assert not validator.is_valid(orjson.loads(orjson.dumps(bare.facts())) | {"surprise": 1})


def test_directories_of_one_s_own_add_and_replace(tmp_path: Path) -> None:
    for version in (1, 2, 9, 12, 10, 11, 3):  # whatever the order in which the folder lists them
        write(tmp_path, f"acme/paid/{version}.json", {"required": ["id"]} if version == 12 else {})
    write(tmp_path, "acme/paid/draft.json", "not counted")
    write(tmp_path, "acme/issues.opened/1.json", {"const": 1})
    write(tmp_path, "github/push/1.json", {"const": 1})
    store = SchemaStore((BUNDLED, tmp_path))
    paid = store.find(("acme",), ("paid",))
    assert paid is not None
    assert paid.identifier == "tidemill:schemas/acme/paid/12"
    assert paid.check({}) is not None
    pushed = store.find(("github",), ("push",))
    assert pushed is not None
    assert pushed.path.is_relative_to(tmp_path)
    specific = store.find(("acme", "github"), ("issues.opened", "issues"))
    general = store.find(("acme", "github"), ("issues.closed", "issues"))
    assert specific is not None
    assert specific.identifier == "tidemill:schemas/acme/issues.opened/1"
    assert general is not None
    assert general.identifier == "tidemill:schemas/github/issues/1"
    assert store.find(("acme",), (None, "../../github/push")) is None


def test_of_several_versions_the_newest_that_fits_counts(tmp_path: Path) -> None:
    write(tmp_path, "acme/orders%2Fpaid/2.json", {"required": ["id"]})
    write(tmp_path, "acme/orders%2Fpaid/10.json", {"required": ["id", "total"]})
    store, seen = SchemaStore((tmp_path,)), []
    store.watcher = lambda *seen_now: seen.append((*seen_now[:2], seen_now[2].event_type, seen_now[3]))
    types = ("orders/paid.now", "orders/paid")
    newest, older = {"id": 1, "total": 2}, {"id": 1}
    assert store.judge(("acme",), types, newest).identifier == "tidemill:schemas/acme/orders%2Fpaid/10"
    assert store.judge(("acme",), types, older).identifier == "tidemill:schemas/acme/orders%2Fpaid/2"
    judged = store.judge(("acme",), types, {"total": 2})
    assert judged.schema is None
    assert judged.reason is not None
    assert "orders%2Fpaid/10" in judged.reason.detail
    assert store.judge(("acme", "github"), ("orders/refunded", None), older) == (None, None)
    assert store.outcomes == {("acme", "fits"): 2, ("acme", "misfit"): 1, ("acme", "unvalidated"): 1}
    assert seen == [("acme", *types, newest), ("acme", *types, older)]


@pytest.mark.parametrize(("extra", "version"), [({}, 3), ({"tide": "high"}, 7)])
def test_an_event_says_which_version_it_fits(tmp_path: Path, extra: Any, version: int) -> None:
    write(tmp_path, "github/push/3.json", {"required": ["ref"]})
    write(tmp_path, "github/push/7.json", {"required": ["ref", "tide"]})
    body = orjson.dumps(find_sample("github", "push") | extra)
    signature = "sha256=" + hmac.digest(b"s3cret", body, "sha256").hex()
    headers = [
        (b"content-type", b"application/json"),
        (b"x-github-event", b"push"),
        (b"x-hub-signature-256", signature.encode()),
    ]
    intake = Intake(
        "code", preset("github"), secrets=(Secret("s3cret"),), schemas=SchemaStore((BUNDLED, tmp_path))
    )
    verdict = intake.receive(Inbound("POST", "/webhooks/code", "", headers, body, 0.0))
    assert isinstance(verdict, Accepted), verdict
    assert verdict.envelope.dataschema == f"tidemill:schemas/github/push/{version}"


@pytest.mark.parametrize("broken", ["{", {"type": "objekt"}, {"$ref": "#/$defs/missing"}])
def test_a_broken_schema_is_named_at_start(tmp_path: Path, broken: Any) -> None:
    store = SchemaStore((write(tmp_path, "acme/paid/1.json", broken),))
    with pytest.raises(SettingsError, match=r"acme/paid/1\.json"):
        store.prepare(("acme",))


def test_a_directory_that_isn_t_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no directory"):
        SchemaStore((tmp_path / "nowhere",))


def test_a_sample_carries_the_delivery_s_id_and_time_where_the_provider_writes_them() -> None:
    stripe, github, standard = preset("stripe"), preset("github"), preset("standard-webhooks")
    event_id = new_id(stripe)
    body = body_of(
        stripe, find_sample("stripe", "invoice.paid"), event_id=event_id, timestamp=1_793_000_000.7
    )
    assert body.startswith(b'{\n  "id": "evt_')
    assert orjson.loads(body)["id"] == event_id
    assert orjson.loads(body)["created"] == 1_793_000_000
    push = find_sample("github", "push")
    assert orjson.loads(body_of(github, push, event_id=new_id(github), timestamp=0)) == push
    contact = find_sample("standard-webhooks", "contact.created")
    sent = orjson.loads(body_of(standard, contact, event_id="msg_1", timestamp=1_793_000_000))
    assert sent == contact | {"timestamp": "2026-10-26T07:33:20Z"}


def test_samples_are_found_by_type_with_and_without_action() -> None:
    assert find_sample("github", "issues.labeled")["action"] == "labeled"
    assert find_sample("github", "issues")["action"] == "labeled"
    with pytest.raises(NotFoundError) as caught:
        find_sample("github", "issues.exploded")
    assert "issues.opened" in caught.value.hint
