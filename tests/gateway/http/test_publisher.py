"""Large bodies: as blobs, wrapped, and through the quarantine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from tidemill.kernel.jetstream.blobs import INLINE_LIMIT

if TYPE_CHECKING:
    from conftest import Connect, House


@pytest.mark.integration
@pytest.mark.parametrize(("size", "status"), [(INLINE_LIMIT + 1, "accepted"), (700_000, "quarantined")])
async def test_a_wrapped_body_travels_as_far_as_its_data_fits_a_message(  # noqa: PLR0913, PLR0917 - fixtures
    house: House,
    connect: Connect,
    http_request: Callable[..., bytes],
    signed: Callable[..., dict[str, str]],
    size: int,
    status: str,
) -> None:
    form = urlencode({"payload": '{"zen":"' + "x" * size + '"}'}).encode()
    headers = signed(form, guid="form") | {"content-type": "application/x-www-form-urlencoded"}
    wire = await connect(house.public)
    await wire.send(http_request("/webhooks/github", form, headers))
    assert (await wire.reply()).json()["status"] == status
    if status == "accepted":
        shown = (await house.ask("events/form")).json()
        assert (len(shown["data"]["zen"]), shown["size"]) == (size, len(form))
    else:
        assert (await house.ask("quarantine/form")).json()["reason"]["code"] == "too_large"


@pytest.mark.integration
async def test_a_large_delivery_goes_through_the_quarantine_with_its_bytes(house: House) -> None:
    body = b'{"text": "' + b"x" * 1_000_000 + b'", "n": NaN}'
    assert (await house.deliver(body, guid="big")).json()["status"] == "quarantined"
    assert (await house.ask("quarantine/big?raw=1")).content == body
    await house.ask("quarantine/big/release", {})
    assert (await house.ask("events/big?raw=1")).content == body
    replayed = (await house.ask("events/big/replay", {})).json()
    assert (await house.ask(f"events/{replayed['id']}?raw=1")).content == body
