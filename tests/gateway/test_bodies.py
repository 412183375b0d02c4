"""Bodies as providers send them: forms, multiparts, texts, compressed ones; and what hostile ones become."""

from __future__ import annotations

import gzip
import hmac
import json
import zlib
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import multipart
from gateway.compressed import Fault, decompress
from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.reason import Reason
from gateway.recipes.recipe import parse_recipe
from gateway.schemas import SchemaStore
from gateway.verdict import Accepted, Quarantined, Refused, Verdict
from tidemill.kernel.settings.secrets import Secret

NOW = 1_793_000_000.5
STORE = SchemaStore(())
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=xYzZY"
DOCUMENT = {"event": "paid", "id": "p-1"}
BODY = json.dumps(DOCUMENT).encode()


def intake(max_body: int = 100_000, **keys: Any) -> Intake:
    event = {"type": "{body:event}", "id": "{body:id}", **keys.pop("event", {})}
    recipe = {"verify": {"signature": {"at": "header:X-Sig"}}, "event": event, **keys}
    return Intake(
        "shop", parse_recipe(recipe, name="shop"), secrets=(Secret("k"),), schemas=STORE, max_body=max_body
    )


def receive(
    shop: Intake, body: bytes, content_type: str = JSON, *, signed: bytes | None = None, coding: str = ""
) -> Verdict:
    signature = hmac.digest(b"k", body if signed is None else signed, "sha256").hex()
    headers = [(b"content-type", content_type.encode()), (b"x-sig", signature.encode())]
    headers += [(b"content-encoding", coding.encode()), (b"content-length", b"1")] if coding else []
    return shop.receive(Inbound("POST", "/", "", headers, body, NOW))


def accepted(verdict: Verdict) -> Accepted:
    assert isinstance(verdict, Accepted), verdict
    return verdict


def quarantined(verdict: Verdict) -> str:
    assert isinstance(verdict, Quarantined), verdict
    return verdict.reason.code


def refused(verdict: Verdict) -> tuple[int, str]:
    assert isinstance(verdict, Refused), verdict
    return verdict.status, verdict.check


def raw_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(data) + engine.flush()


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip", lambda data: gzip.compress(data[:10]) + gzip.compress(data[10:])),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
    ],
)
def test_a_compressed_body_is_verified_as_it_was_sent_and_read_as_it_was_before(
    coding: str, compress: Any
) -> None:
    event = accepted(receive(intake(), compress(BODY), coding=coding)).envelope
    assert (event.id, event.type, event.data, event.raw) == ("p-1", "shop.paid", DOCUMENT, BODY)
    assert {"content-encoding", "content-length"}.isdisjoint(event.headers)


def test_a_provider_may_sign_what_was_before_compression() -> None:
    body = gzip.compress(BODY)
    shop = intake(signs_decoded=True)
    assert accepted(receive(shop, body, signed=BODY, coding="gzip")).envelope.data == DOCUMENT
    assert refused(receive(shop, body, coding="gzip")) == (401, "signature_mismatch")
    assert refused(receive(intake(), body, signed=BODY, coding="gzip")) == (401, "signature_mismatch")
    assert refused(receive(shop, b"no gzip", signed=BODY, coding="gzip")) == (400, "content_encoding")


@pytest.mark.parametrize("decoded", [True, False])
def test_a_bomb_counts_as_large_as_it_would_become(decoded: bool) -> None:  # noqa: FBT001 - a parameter
    bomb = gzip.compress(b"0" * 50_000_000)
    assert len(bomb) < 100_000
    verdict = receive(intake(signs_decoded=decoded), bomb, coding="gzip")
    assert refused(verdict) == (413, "body_size")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x1f\x8b",
        gzip.compress(BODY, mtime=0)[:-4],
        gzip.compress(BODY, mtime=0) + b"rest",
        gzip.compress(b"", mtime=0) * 200,
        BODY,
    ],
)
def test_what_cannot_be_decompressed_is_quarantined_where_it_is_genuine(body: bytes) -> None:
    assert quarantined(receive(intake(), body, coding="gzip")) == "bad_encoding"
    assert refused(receive(intake(), body, signed=b"forged", coding="gzip"))[0] == 401


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "\xff"])
def test_other_codings_are_not_read(coding: str) -> None:
    assert refused(receive(intake(), BODY, coding=coding)) == (415, "content_encoding")


@given(st.binary(max_size=200), st.sampled_from([b"gzip", b"x-gzip", b"deflate"]), st.integers(0, 300))
def test_decompression_is_total_and_bounded(body: bytes, coding: bytes, limit: int) -> None:
    found = decompress(body, coding, limit)
    assert isinstance(found, Fault) or len(found) <= limit


@given(st.binary(max_size=500))
def test_what_was_compressed_comes_back(data: bytes) -> None:
    assert decompress(gzip.compress(data), b"gzip", 500) == data
    assert decompress(zlib.compress(data), b"deflate", 500) == data


def test_the_fields_of_a_form_are_the_data() -> None:
    shop = intake(event={"type": "{form:MessageStatus}", "id": "{form:MessageSid}", "data": "form"})
    body = urlencode({"MessageSid": "SM1", "MessageStatus": "sent", "Body": "a+b & ü"}).encode()
    event = accepted(receive(shop, body, FORM)).envelope
    assert (event.id, event.type, event.raw) == ("SM1", "shop.sent", body)
    assert event.data == {"MessageSid": "SM1", "MessageStatus": "sent", "Body": "a+b & ü"}


def test_a_field_that_is_sent_repeatedly_is_a_list_and_names_nothing() -> None:
    shop = intake(event={"type": "{form:kind}", "data": "form"})
    event = accepted(receive(shop, b"kind=a&to=x&to=y&empty=", FORM)).envelope
    assert event.data == {"kind": "a", "to": ["x", "y"], "empty": ""}
    assert quarantined(receive(shop, b"kind=a&kind=b", FORM)) == "missing_type"


def test_one_source_takes_json_and_forms() -> None:
    shop = intake(event={"data": ["form:payload", "body", "form"]})
    assert accepted(receive(shop, BODY)).envelope.data == DOCUMENT
    assert accepted(receive(shop, urlencode({"payload": BODY}).encode(), FORM)).envelope.data == DOCUMENT
    assert accepted(receive(shop, urlencode(DOCUMENT).encode(), FORM)).envelope.data == DOCUMENT


def part(name: str, content: bytes, extra: str = "") -> bytes:
    return (
        f'--xYzZY\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode()
        + content
        + b"\r\n"
    )


def test_a_multipart_form_has_its_fields_and_the_names_of_its_files() -> None:
    shop = intake(event={"type": "{form:event}", "id": "{form:id}", "data": "form"})
    file = part("photo", b"\xff\xd8\x00" * 50, '; filename="a \\"b\\".jpg"\r\nContent-Type: image/jpeg')
    body = (
        part("event", b"stored") + part("id", b"7") + file + part("subject", "ü".encode()) + b"--xYzZY--\r\n"
    )
    event = accepted(receive(shop, body, MULTIPART)).envelope
    assert (event.type, event.id, event.raw) == ("shop.stored", "7", body)
    assert event.data == {
        "event": "stored",
        "id": "7",
        "photo": {"filename": 'a "b".jpg', "content_type": "image/jpeg", "size": 150},
        "subject": "ü",
    }


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_form"),
        (b"--xYzZY\r\n", "not_form"),
        (part("a", b"1"), "not_form"),
        (b"--xYzZY\r\n\r\n1\r\n--xYzZY--", "not_form"),
        (b"--xYzZY\r\nContent-Disposition: form-data\r\n\r\n1\r\n--xYzZY--", "not_form"),
        (b'--xYzZY\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n1\r\n--xYzZY--', "bad_encoding"),
        (part("a", b"\xff\xfe") + b"--xYzZY--", "bad_encoding"),
        (part("a", b"1") * (multipart.MAX_PARTS + 1) + b"--xYzZY--", "not_form"),
        (b"--xYzZY\r\nX: " + b"y" * 9000 + b"\r\n\r\n1\r\n--xYzZY--", "not_form"),
    ],
)
def test_a_multipart_form_that_is_unsound_is_quarantined(body: bytes, code: str) -> None:
    assert quarantined(receive(intake(event={"type": [], "data": "form"}), body, MULTIPART)) == code


@given(st.binary(max_size=300))
def test_reading_a_multipart_form_is_total(body: bytes) -> None:
    found = multipart.parse(body.replace(b"\xaa", b"\r\n--xY"), b"xY")
    assert isinstance(found, Reason | list)


def test_a_text_is_the_data_where_the_recipe_takes_texts() -> None:
    shop = intake(event={"type": [], "data": "text"})
    event = accepted(receive(shop, "<a>ü</a>".encode(), "text/xml; charset=UTF-8")).envelope
    assert (event.type, event.data, event.datacontenttype) == ("shop.received", "<a>ü</a>", "text/xml")
    assert quarantined(receive(shop, b"\xff", "text/plain")) == "bad_encoding"
    assert refused(receive(shop, b"\xff\xfe<\x00", "text/xml; charset=utf-16")) == (415, "content_type")
    assert refused(receive(shop, BODY)) == (415, "content_type")


def test_a_media_type_may_be_read_otherwise() -> None:
    assert accepted(receive(intake(reads={"text/plain": "json"}), BODY, "text/plain; charset=UTF-8"))
    assert refused(receive(intake(), BODY, "text/plain")) == (415, "content_type")


@pytest.mark.parametrize(
    ("content_type", "body", "outcome"),
    [
        (JSON, b"\xef\xbb\xbf" + BODY, "bad_encoding"),
        (JSON, BODY.decode().encode("utf-16"), "bad_encoding"),
        (JSON, BODY.decode().encode("utf-16-le"), "not_json"),
        ("application/json; charset=utf-16", BODY.decode().encode("utf-16"), 415),
        (JSON, b'{"event": "\xc0\xa0"}', "bad_encoding"),
        (JSON, b'{"event": "\\ud800"}', "bad_encoding"),
        (JSON, b"[" * 100_000, "too_deep"),
        (JSON, b'{"event": 1e400}', "not_finite"),
        (JSON, b'{"event": Infinity}', "not_finite"),
        (JSON, b'{"event":"a","event":"b"}', "duplicate_key"),
        (JSON, b"", "not_json"),
        (JSON, b"   ", "not_json"),
        (JSON, b"null", "missing_type"),
        (JSON, b'{"event": {"a": 1}}', "missing_type"),
        (JSON, b'{"event": "a\\u0000b"}', "bad_type"),
        (JSON, json.dumps({"event": "x" * 300}).encode(), "bad_type"),
    ],
)
def test_a_genuine_body_that_is_unsound_is_quarantined(
    content_type: str, body: bytes, outcome: str | int
) -> None:
    verdict = receive(intake(), body, content_type)
    if isinstance(outcome, int):
        assert refused(verdict)[0] == outcome
    else:
        assert quarantined(verdict) == outcome
