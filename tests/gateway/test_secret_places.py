"""A verdict names the secret by its place in the settings, also when those before it have run out."""

from __future__ import annotations

import hmac

import pytest

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.recipes.presets import preset
from gateway.schemas import SchemaStore
from gateway.verdict import Accepted
from tidemill.kernel.settings.secrets import Secret

BODY = b'{"zen":"Keep it logically awesome.","hook_id":1,"hook":{"type":"Repository"}}'


@pytest.mark.parametrize(
    ("secrets", "place"),
    [
        ((Secret("old", 0), Secret("new", 1)), 1),
        ((Secret("new", 1),), 1),
        ((Secret("new", 0), Secret("newer", 1)), 0),
        ((Secret("learned"), Secret("new")), 1),
    ],
)
def test_a_secret_is_named_by_its_place(secrets: tuple[Secret, ...], place: int) -> None:
    intake = Intake("github", preset("github"), secrets=secrets, schemas=SchemaStore())
    signature = b"sha256=" + hmac.digest(b"new", BODY, "sha256").hex().encode()
    headers = [(b"x-github-event", b"zen"), (b"x-hub-signature-256", signature)]
    verdict = intake.receive(Inbound("POST", "/webhooks/github", "", headers, BODY, 0.0))
    assert isinstance(verdict, Accepted)
    assert verdict.secret == place
