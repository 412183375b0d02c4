"""A key server over TLS with an authority of its own, and private keys to sign with."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from joserfc import jwk

HOST: Final = "keys.example.com"
DAY: Final = dt.timedelta(days=1)


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Return a private key, the same for a name."""
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any) -> str:
    form = serialization
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()


def public_jwk(key: Any, kid: str | None = None, **members: Any) -> dict[str, Any]:
    text = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    kinds = ((rsa.RSAPrivateKey, "RSA"), (ec.EllipticCurvePrivateKey, "EC"))
    kind = next((name for one, name in kinds if isinstance(key, one)), "OKP")
    found = jwk.import_key(text, kind).as_dict(private=False)  # type: ignore[arg-type] - one of the kinds
    return {**found, **({"kid": kid} if kid else {}), **members}


def key_set(**keys: Any) -> bytes:
    return json.dumps({"keys": [public_jwk(key, kid) for kid, key in keys.items()]}).encode()


def certificate(  # noqa: PLR0913 - what certificates differ in
    key: Any,
    *,
    days: int = 1,
    name: str = HOST,
    issuer: Any = None,
    authority: bool | None = None,
    issuer_at: str | None = None,
) -> x509.Certificate:
    """Return a certificate for a key, by itself or by an issuer (its key and name).

    Args:
        key: whose.
        days: until it ends.
        name: of whom.
        issuer: who vouches for it.
        authority: whether it may vouch for others; by default if nobody vouches for it.
        issuer_at: where it says that its issuer's certificate is.
    """
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    vouches = issuer is None if authority is None else authority
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[1] if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=vouches, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if vouches:
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        made = made.add_extension(x509.KeyUsage(**usage), critical=True)
    else:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    if issuer:
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[0].public_key()), critical=False
        )
    if issuer_at:
        place = x509.UniformResourceIdentifier(issuer_at)
        found = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)
        made = made.add_extension(x509.AuthorityInformationAccess([found]), critical=False)
    return made.sign(issuer[0] if issuer else key, hashes.SHA256())


_USAGES: Final = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass
class KeyServer:
    """Answers paths with what a test puts there, and counts."""

    port: int = 0
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        self.answers[path] = (status, headers, body)

    def url(self, path: str = "/jwks.json") -> str:
        return f"https://{HOST}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(x[15:]) for x in head.lower().split("\r\n") if x.startswith("content-length:")), 0
            )
            self.bodies.append(await reader.readexactly(length))
            path = head.split()[1]
            self.asked.append(path)
            self.heads.append(head)
            self.came.set()
            if self.gate is not None:
                await self.gate.wait()
            status, headers, body = self.answers.get(path, (404, {}, b"{}"))
            lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close"]
            lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await writer.drain()
        writer.close()


@dataclass(frozen=True)
class Authority:
    """Who vouches for the key server."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def make_authority(folder: Path) -> Authority:
    """Make an authority with a certificate for the server's name."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate(root_key, name="Test Authority")
    leaf = certificate(key, issuer=(root_key, root.subject))
    (folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + pem(key).encode())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "leaf.pem")
    return Authority(server, ssl.create_default_context(cafile=folder / "root.pem"))
