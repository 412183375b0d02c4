"""Values that a provider has encrypted: opened with a secret of the source, quarantined where that fails."""

from __future__ import annotations

import base64
import json
import time
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.keys.sealed import is_sealed, unsealed
from gateway.reading import Content
from gateway.reason import Reason
from gateway.recipes.opening import Encrypted, Opener
from gateway.recipes.presets import preset
from gateway.recipes.sign import sign_request
from gateway.schemas import SchemaStore
from gateway.verdict import Accepted, Quarantined
from tests.gateway.keys.key_server import pem, rsa_key
from tidemill.kernel.settings.secrets import Secret

KEY: Final = "0123456789abcdef0123456789abcdef"
PLAIN: Final = {
    "out_trade_no": "1217752501201407033233368018",
    "trade_state": "SUCCESS",
    "amount": {"total": 100},
}
ROOT: Final = Secret(pem(rsa_key("platform")))


def box(plain: bytes, key: str = KEY, **members: Any) -> dict[str, Any]:
    sealed = AESGCM(key.encode()).encrypt(b"fdasflkja484", plain, b"transaction")
    usual = {
        "original_type": "transaction",
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": "transaction",
        "nonce": "fdasflkja484",
    }
    return {**usual, **members}


def receive(resource: Any, *secrets: str) -> Any:
    event = {"id": "EV-1", "event_type": "TRANSACTION.SUCCESS", "resource": resource}
    sent = sign_request(
        preset("wechat-pay"),
        ROOT,
        json.dumps(event).encode(),
        event_type="TRANSACTION.SUCCESS",
        event_id="EV-1",
        timestamp=time.time(),
    )
    given = (ROOT, *(Secret(text) for text in secrets))
    intake = Intake("pay", preset("wechat-pay"), secrets=given, schemas=SchemaStore(()))
    raw = [(name.lower().encode(), value.encode()) for name, value in sent.headers.items()]
    return intake.receive(Inbound("POST", "/webhooks/pay", "", raw, sent.body, time.time()))


def test_the_data_holds_what_was_inside_and_the_raw_body_what_came() -> None:
    for secret in (KEY, json.dumps({"mchid": "1", "serial_no": "2", "private_key": "3", "api_v3_key": KEY})):
        verdict = receive(box(json.dumps(PLAIN).encode()), "another", secret)
        assert isinstance(verdict, Accepted), verdict
        assert verdict.envelope.data["resource"] == PLAIN
        assert verdict.envelope.type == "pay.TRANSACTION.SUCCESS"
        assert "ciphertext" in json.loads(verdict.envelope.raw)["resource"]


def test_without_a_key_it_stays_closed() -> None:
    verdict = receive(box(b"{}"))
    assert isinstance(verdict, Accepted)
    assert verdict.envelope.data["resource"]["algorithm"] == "AEAD_AES_256_GCM"
    open_already = receive({"trade_state": "SUCCESS"}, KEY)
    assert isinstance(open_already, Accepted)
    assert open_already.envelope.data["resource"] == {"trade_state": "SUCCESS"}


@pytest.mark.parametrize(
    "resource",
    [
        box(b"{}", key="f" * 32),
        box(b"{}", nonce="fdasflkja485"),
        box(b"{}", nonce=""),
        box(b"{}", nonce="x" * 1000),
        box(b"{}", nonce=7),
        box(b"{}", nonce="\ud800"),
        box(b"{}", associated_data="other"),
        box(b"{}", associated_data={}),
        box(b"{}", ciphertext=""),
        box(b"{}", ciphertext="!"),
        box(b"{}", ciphertext="AAAA"),
        box(b"not json"),
        box(b'{"a": 1, "a": 2}'),
        box(b"[" * 5000),
        box(b"\xff"),
        box(b""),
    ],
)
def test_what_can_t_be_opened_is_quarantined(resource: Any) -> None:
    verdict = receive(resource, KEY)
    assert isinstance(verdict, Quarantined)
    assert verdict.reason.code in ("not_decrypted", "bad_encoding", "not_json")
    assert verdict.envelope.raw


VALUES = st.none() | st.integers() | st.text(max_size=20) | st.lists(st.integers(), max_size=2)


@given(
    found=st.dictionaries(st.sampled_from(["ciphertext", "nonce", "associated_data", "x"]), VALUES),
    key=st.text(max_size=40),
    at=st.sampled_from(["body:resource", "body:a.0.b", "body:0"]),
)
def test_whatever_a_box_holds_there_is_an_outcome(found: Any, key: str, at: str) -> None:
    document = {"resource": found, "a": [{"b": found}], "0": found}
    outcome = Opener(Encrypted(at=at)).open(Content(document), (Secret(key), Secret(KEY)))
    assert isinstance(outcome, Content | Reason)
    if is_sealed(found):
        assert unsealed(found, KEY.encode()) is None


@given(st.recursive(st.none() | st.integers(-9, 9) | st.text(max_size=4), st.lists, max_leaves=4))
def test_a_box_anywhere_is_replaced_by_what_is_inside(value: Any) -> None:
    sealed = box(json.dumps(value).encode())
    document = {"a": [{"b": sealed, "c": 1}], "d": 2}
    outcome = Opener(Encrypted(at="body:a.0.b")).open(Content(document), (Secret(KEY),))
    assert isinstance(outcome, Content)
    assert outcome.data == {"a": [{"b": value, "c": 1}], "d": 2}
    assert document["a"] == [{"b": sealed, "c": 1}]
