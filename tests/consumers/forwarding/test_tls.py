"""Destinations behind TLS: the name is verified, though the address was looked up before."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from consumers.forwarding.destination import DeliveryError

if TYPE_CHECKING:
    from conftest import Receiver

    from consumers.forwarding.destination import Destination
    from tidemill.kernel.envelope import Envelope


@pytest.fixture
async def secured(receiver: Receiver, certificate: Path) -> AsyncIterator[int]:
    """The receiver, behind TLS, on a port of its own."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.mark.parametrize(
    ("host", "trusted", "problem"),
    [
        ("localhost", True, None),
        ("localhost", False, "CERTIFICATE_VERIFY_FAILED"),
        ("127.0.0.1", True, "CERTIFICATE_VERIFY_FAILED"),
    ],
)
async def test_the_name_has_to_be_vouched_for(  # noqa: PLR0913, PLR0917 - fixtures and what varies
    destine: Callable[..., Destination],
    receiver: Receiver,
    envelope: Callable[..., Envelope],
    secured: int,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    host: str,
    trusted: bool,
    problem: str | None,
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    destination: Any = destine(url=f"https://{host}:{secured}/in")
    if problem is None:
        assert (await destination.deliver(envelope(), "run_1", 1))["status"] == 200
        assert receiver.received[0].headers["host"] == f"localhost:{secured}"
        return
    with pytest.raises(DeliveryError, match=problem):
        await destination.deliver(envelope(), "run_1", 1)
    assert receiver.received == []
