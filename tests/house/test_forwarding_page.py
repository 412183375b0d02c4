"""docs/forwarding.md: its destinations can be made, its receiver verifies, its tables are right."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

import pytest

from consumers.forwarding.client import READ_BYTES, READ_SECONDS
from consumers.forwarding.destination import Destination
from consumers.forwarding.signing import signature_headers
from consumers.forwarding.verdict import LONGEST_WAIT, Answer, Verdict
from tests.house import pages
from tidemill.kernel import clock
from tidemill.kernel.settings.destinations import DestinationRetry
from tidemill.kernel.settings.model import Settings

PAGE: Final = pages.read("forwarding.md")
KEY: Final = b"k" * 32


async def test_its_destinations_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "tidemill.toml").write_text(pages.blocks(PAGE, "toml")[0])
    environ = {"BILLING_WEBHOOK_SECRET": base64.b64encode(KEY).decode(), "LEGACY_AUTHORIZATION": "Basic abc"}
    settings = Settings.load(tmp_path / "tidemill.toml", environ)
    made = [Destination(name, one, environ) for name, one in settings.destinations.items()]
    assert [one.name for one in made] == ["billing", "legacy"]
    for one in made:
        await one.close()


def test_its_receiver_verifies_what_is_signed() -> None:
    found: dict[str, Any] = {}
    exec(pages.blocks(PAGE)[0], found)
    headers = signature_headers("msg_1", int(clock.now().timestamp()), b'{"a":1}', [KEY])
    secret = f"whsec_{base64.b64encode(KEY).decode()}"
    assert found["receive"](secret, b'{"a":1}', headers) == {"a": 1}
    with pytest.raises(Exception, match="No matching signature"):
        found["receive"](secret, b'{"a":2}', headers)


@pytest.mark.parametrize(
    ("row", "statuses", "verdict"),
    [
        ("2xx", range(200, 300), Verdict.DONE),
        ("408, 425, 429, 5xx", [408, 425, 429, *range(500, 600)], Verdict.AGAIN),
        ("410 Gone", [410], Verdict.GONE),
        ("3xx", range(300, 400), Verdict.NEVER),
        ("any other 4xx", sorted({*range(400, 500)} - {408, 410, 425, 429}), Verdict.NEVER),
    ],
)
def test_answers_mean_what_it_says(row: str, statuses: list[int], verdict: Verdict) -> None:
    assert f"\n| {row} |" in PAGE
    assert {Answer(status).verdict for status in statuses} == {verdict}


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"for a second and {READ_BYTES >> 10} KiB at most" in PAGE
    assert READ_SECONDS == 1
    assert LONGEST_WAIT == 86400
    retry = DestinationRetry()
    delays = [min(retry.max_delay, retry.min_delay * retry.factor**n) for n in range(retry.max_attempts - 1)]
    assert retry.max_attempts == 10
    assert 19 < sum(delays) / 3600 < 20, "and half of it where jitter shortens each"
