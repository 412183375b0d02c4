"""Destinations behind TLS: the name is verified, though the address was looked up before."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from consumers.forwarding.destination import DeliveryError

if TYPE_CHECKING:
    from conftest import Receiver

    from consumers.forwarding.destination import Destination
    from tidemill.kernel.envelope import Envelope


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for `localhost`, which vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


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
