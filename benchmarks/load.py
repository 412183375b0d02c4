"""Load for a webhook endpoint: raw HTTP/1.1 over kept connections, in a process of its own.

python benchmarks/load.py PORT CONNECTIONS SECONDS SECRET   prints one line of JSON

A request is a constant with a fresh delivery id in it, so that the generator costs a fraction of what it
measures. The body is the product's sample of a GitHub push, with GitHub's headers.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
import time
from itertools import count
from pathlib import Path

import uvloop

SAMPLE = Path(__file__).parent.parent / "schemas/github/push/samples/branch.json"
_ids = count(time.time_ns())


class Client(asyncio.Protocol):
    """One connection: sends a request as soon as the last one was answered."""

    def __init__(self, before: bytes, after: bytes, until: float, results: list[tuple[int, float]]) -> None:
        self._before, self._after, self._until, self._results = before, after, until, results
        self._buffer = b""
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # TCP's
        """Send the first request."""
        self._transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, where it was not ourselves who closed."""
        if not self.finished.done():
            self.finished.set_exception(exc or ConnectionError("the server closed a connection"))

    def data_received(self, data: bytes) -> None:
        """Note a complete answer and send the next request."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"content-length: ") + 16
        if len(self._buffer) < head + 4 + int(self._buffer[at : self._buffer.find(b"\r", at)]):
            return
        now = time.perf_counter()
        self._results.append((int(self._buffer[9:12]), now - self._sent))
        self._buffer = b""
        if now < self._until:
            self._send()
        else:
            self.finished.set_result(None)
            self._transport.close()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._before + b"%d" % next(_ids) + self._after)


def request(body: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Return what stands before and behind the delivery id."""
    lines = [
        "POST /webhooks/github HTTP/1.1",
        "Host: hooks.example.com",
        "User-Agent: GitHub-Hookshot/044aadd",
        "Accept: */*",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
        "X-GitHub-Event: push",
        "X-GitHub-Hook-ID: 292430182",
        "X-GitHub-Hook-Installation-Target-ID: 79929171",
        "X-GitHub-Hook-Installation-Target-Type: repository",
        f"X-Hub-Signature: sha1={hmac.digest(secret, body, 'sha1').hex()}",
        f"X-Hub-Signature-256: sha256={hmac.digest(secret, body, 'sha256').hex()}",
        "X-GitHub-Delivery: ",
    ]
    return "\r\n".join(lines).encode(), b"\r\n\r\n" + body


async def load(port: int, connections: int, seconds: float, secret: bytes) -> dict[str, float]:
    compact = json.dumps(json.loads(SAMPLE.read_bytes()), separators=(",", ":"), ensure_ascii=False)
    before, after = request(compact.encode(), secret)
    results: list[tuple[int, float]] = []
    started, loop = time.perf_counter(), asyncio.get_running_loop()
    clients = [Client(before, after, started + seconds, results) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    await asyncio.gather(*(client.finished for client in clients))
    took, times = time.perf_counter() - started, sorted(spent for _, spent in results)
    return {
        "rate": len(times) / took,
        "p50": times[len(times) // 2] * 1000,
        "p99": times[len(times) * 99 // 100] * 1000,
        "requests": len(times),
        "failed": sum(status != 202 for status, _ in results),
        "cpu": time.process_time() / took,
    }


if __name__ == "__main__":
    arguments = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4].encode()
    print(json.dumps(uvloop.run(load(*arguments))))
