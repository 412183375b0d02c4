"""`tidemill send`: what it posts is what the gateway's own verification accepts."""

from __future__ import annotations

import hmac
import io
import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.posting import Posting, build
from gateway.recipes.new_secret import new_secret
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.samples import sample_types
from gateway.schemas import SchemaStore
from gateway.verdict import Accepted, Batch, Refused
from tidemill.kernel.errors import NotFoundError, SettingsError
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Call

STORE = SchemaStore()
SECRETS = {name: new_secret(preset(name).verify[0]).reveal() for name in preset_names() if sample_types(name)}
URL = "https://hooks.example.com/webhooks/acme"
TOKENS = {"paypal": ["WH-7"]}
"""What a sender signs beside the body, as the provider's settings page shows it."""
SAMPLES = [(name, kind) for name in SECRETS for kind in sample_types(name)]


def settings(name: str, **source: Any) -> Settings:
    tokens = {"verify_tokens": TOKENS[name]} if name in TOKENS else {}
    given = {"preset": name, "secrets": [SECRETS[name]], **tokens, **source}
    return Settings.load(None, {}, {"sources": {"acme": given}})


def judge(posting: Posting, name: str, secret: str) -> Any:
    raw = [(key.lower().encode(), value.encode()) for key, value in posting.headers.items()]
    parts = urlsplit(posting.url)
    inbound = Inbound("POST", parts.path, parts.query, raw, posting.body, time.time())
    intake = Intake(
        "acme",
        preset(name),
        secrets=(Secret(secret),),
        schemas=STORE,
        public_url="https://hooks.example.com",
        verify_tokens=tuple(Secret(token) for token in TOKENS.get(name, ())),
    )
    return intake.receive(inbound, None)


def posting_action(posting: Posting) -> Any:
    """Return GitLab's action, which doesn't stand where a sample's file is named after it."""
    document = json.loads(posting.body) if posting.body.startswith(b"{") else {}
    return document.get("object_attributes", {}).get("action")


@pytest.mark.parametrize(("name", "kind"), SAMPLES)
def test_every_sample_is_accepted(name: str, kind: str) -> None:
    posting = build(settings(name), "acme", kind, url=URL)
    verdict = judge(posting, name, SECRETS[name])
    if isinstance(verdict, Batch):
        (verdict,) = verdict.items
    assert isinstance(verdict, Accepted), verdict
    assert verdict.envelope.type in {f"acme.{kind}", f"acme.{kind}.{posting_action(posting)}"}
    carried = posting.event_id.encode() in posting.body or posting.event_id in posting.headers.values()
    assert (verdict.envelope.id == posting.event_id) is carried
    other = new_secret(preset(name).verify[0]).reveal()
    assert isinstance(judge(posting, name, other), Refused)


def test_each_delivery_has_an_id_of_its_own_and_the_types_source_may_be_written() -> None:
    first, second = (build(settings("github"), "acme", "acme.push") for _ in range(2))
    assert first.event_id != second.event_id
    assert first.headers["X-GitHub-Event"] == "push"


def test_data_is_posted_as_it_is() -> None:
    body = b'{ "action": "opened" }\n'
    posting = build(settings("github"), "acme", "issues.opened", body=body)
    assert posting.body == body
    assert posting.headers["X-GitHub-Event"] == "issues"


def test_the_first_secret_that_counts_signs() -> None:
    rotating = settings("github", secrets=[{"value": "old", "until": "2020-01-01T00:00:00Z"}, "new", "newer"])
    posting = build(rotating, "acme", "push")
    assert isinstance(judge(posting, "github", "new"), Accepted)


def test_a_source_that_wants_no_signature_gets_none() -> None:
    posting = build(settings("github", secrets=[], allow_unsigned=True), "acme", "push")
    assert "X-Hub-Signature-256" not in posting.headers


def test_what_cant_be_sent_is_said() -> None:
    with pytest.raises(NotFoundError, match="no source 'other'"):
        build(settings("github"), "other", "push")
    with pytest.raises(NotFoundError, match="no sample of 'pull'"):
        build(settings("github"), "acme", "pull")
    expired = settings("github", secrets=[{"value": "old", "until": "2020-01-01T00:00:00Z"}])
    with pytest.raises(SettingsError, match="no secret that still counts"):
        build(expired, "acme", "push")


@pytest.fixture
def receiver() -> Iterator[SimpleNamespace]:
    """A web server that keeps what it is sent and answers as it is told."""
    kept = SimpleNamespace(
        status=202, answer={"status": "accepted", "type": "github.push", "id": "1"}, got=[]
    )

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.got.append((self.path, dict(self.headers), body))
            answer = json.dumps(kept.answer).encode()
            self.send_response(kept.status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield kept
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.mark.usefixtures("project")
def test_the_answer_is_one_line(call: Call, receiver: SimpleNamespace) -> None:
    result = call("send", "github", "push", "--id", "abc", "--to", receiver.url, "--tenant", "a/b")
    assert (result.code, result.out) == (0, "202 accepted github.push 1\n")
    ((path, headers, _),) = receiver.got
    assert path == "/webhooks/github/a%2Fb"
    assert headers["X-GitHub-Delivery"] == "abc"


@pytest.mark.usefixtures("project")
def test_a_refusal_exits_with_1(call: Call, receiver: SimpleNamespace) -> None:
    receiver.status, receiver.answer = 401, {"detail": "No signature matches.", "hint": "check it"}
    result = call("send", "github", "push", "--to", receiver.url)
    assert (result.code, result.out) == (1, "401 No signature matches. check it\n")
    result = call("send", "github", "push", "--to", receiver.url, "--json")
    assert result.code == 1
    assert json.loads(result.out)["status_code"] == 401


def test_tampering_changes_one_byte_behind_the_signature(
    call: Call, receiver: SimpleNamespace, project: Path
) -> None:
    (project / "body.json").write_bytes(b'{"a": 1}')
    for extra in ((), ("--tamper",)):
        call("send", "github", "push", "--data", "body.json", "--to", receiver.url, *extra)
    (_, first, genuine), (_, second, tampered) = receiver.got
    assert first["X-Hub-Signature-256"] == second["X-Hub-Signature-256"]
    assert sum(a != b for a, b in zip(genuine, tampered, strict=True)) == 1


@pytest.mark.usefixtures("project")
def test_data_comes_from_standard_input(
    call: Call, receiver: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"b": 2}')))
    assert call("send", "github", "push", "--data", "-", "--to", receiver.url).code == 0
    assert receiver.got[0][2] == b'{"b": 2}'


@pytest.mark.usefixtures("project")
def test_a_gateway_that_isnt_there_is_named(call: Call) -> None:
    result = call("send", "github", "push", "--to", "http://127.0.0.1:1")
    assert result.code == 1
    assert "POST http://127.0.0.1:1/webhooks/github failed" in result.err
    assert "--to" in result.err


@pytest.mark.usefixtures("project")
def test_a_tenant_s_secret_can_be_given(
    call: Call, receiver: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_ACME", "the tenant's own")
    result = call(
        "send", "github", "push", "--to", receiver.url, "--tenant", "acme", "--secret", "env:OF_ACME"
    )
    assert result.code == 0
    ((_, headers, body),) = receiver.got
    digest = hmac.digest(b"the tenant's own", body, "sha256").hex()
    assert headers["X-Hub-Signature-256"] == f"sha256={digest}"
    assert call("send", "github", "push", "--to", receiver.url, "--secret", "itself").code == 1
