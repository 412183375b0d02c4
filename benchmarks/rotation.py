"""A secret is replaced while webhooks come: python benchmarks/rotation.py [--seconds 60] [--rate 500].

A gateway in a process of its own, beside a broker, knows the old secret. While pushes of GitHub come at a
steady rate, its settings file gets the new secret beside the old one; then the sender signs with either of
them, at random, for so many seconds; then with the new one alone, and the old one is taken away. Not one
request may be refused, and the gateway has to say of each which secret it was signed with. In the end the old
one is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import random
import re
import statistics
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.request import urlopen

import uvloop
from bench_site import HERE, Site, free_port, machine, site

SAMPLE = HERE.parent / "schemas/github/push/samples/branch.json"
OLD, NEW = "the secret before", "the secret from now on"
CONNECTIONS = 32
RELOAD = 1.5
"""Seconds until a change of the settings file counts, at most: it is looked at once a second."""
LOGGED = 200


@dataclass
class Sender:
    """Sends pushes at a steady rate, whatever the answers take, and notes what they were signed with."""

    port: int
    rate: float
    body: bytes
    statuses: Counter[int] = field(default_factory=Counter)
    signed: dict[str, str] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    _pool: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def send(self, seconds: float, choose: Callable[[], str]) -> None:
        """Send for so many seconds, each request with the secret that is chosen for it."""
        started, places = time.perf_counter(), asyncio.Semaphore(CONNECTIONS)
        async with asyncio.TaskGroup() as group:
            for number in range(round(seconds * self.rate)):
                await asyncio.sleep(max(0.0, started + number / self.rate - time.perf_counter()))
                await places.acquire()
                one = group.create_task(self.post(choose()), name="post")
                one.add_done_callback(lambda _: places.release())

    async def post(self, secret: str) -> int:
        """Send one request and return its status."""
        begun, guid = time.perf_counter(), str(uuid.uuid4())
        reader, writer = (
            self._pool.pop() if self._pool else await asyncio.open_connection("127.0.0.1", self.port)
        )
        writer.write(self._request(guid, secret))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        self._pool.append((reader, writer))
        status = int(head.split()[1])
        self.statuses[status] += 1
        self.signed[guid] = secret
        self.times.append(time.perf_counter() - begun)
        return status

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._pool:
            writer.close()

    def _request(self, guid: str, secret: str) -> bytes:
        lines = [
            "POST /webhooks/github HTTP/1.1",
            "Host: hooks.example.com",
            f"Content-Length: {len(self.body)}",
            "Content-Type: application/json",
            "X-GitHub-Event: push",
            f"X-GitHub-Delivery: {guid}",
            f"X-Hub-Signature-256: sha256={hmac.digest(secret.encode(), self.body, 'sha256').hex()}",
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass
class House:
    """A gateway whose secrets are changed while it runs."""

    running: Site
    control: int = field(default_factory=free_port)

    def write(self, *secrets: str) -> None:
        """Write the settings with these secrets, as an operator would."""
        text = f"""
            [gateway]
            listen = "127.0.0.1:{self.running.public_port}"
            [control]
            listen = "127.0.0.1:{self.control}"
            [nats]
            url = "nats://127.0.0.1:{self.running.broker_port}"
            [events]
            max_bytes = "4GiB"
            [log]
            level = "warning"
            [sources.github]
            preset = "github"
            secrets = {json.dumps(secrets)}
        """
        draft = self.running.config.with_suffix(".new")
        draft.write_text(text)
        draft.replace(self.running.config)

    def by_secret(self) -> Counter[str]:
        """Return how many requests were signed with which secret, as the metrics say."""
        found = re.findall(
            r'^tidemill_webhook_secret_total\{secret="(-?\d+)",source="github"\} (\S+)$',
            self._read("metrics"),
            re.MULTILINE,
        )
        return Counter({place: int(float(number)) for place, number in found})

    def log(self) -> dict[str, int]:
        """Return the secrets of the newest requests in the log, by the event's id."""
        listing = json.loads(self._read(f"api/v1/deliveries?limit={LOGGED}"))
        return {
            event["id"]: entry["secret"]
            for entry in listing["deliveries"]
            for event in entry.get("events", ())
            if "secret" in entry
        }

    def _read(self, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self.control}/{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text


@contextmanager
def house() -> Iterator[House]:
    """Give a running gateway."""
    with site("os") as running:
        found = House(running)
        found.write(OLD)
        running.start("gateway", "gateway")
        yield found


async def rotate(gateway: House, options: argparse.Namespace) -> list[str]:
    """Replace the secret under load; return what is wrong."""
    body = json.dumps(json.loads(SAMPLE.read_bytes()), separators=(",", ":")).encode()
    sender, chance = Sender(gateway.running.public_port, options.rate, body), random.Random(options.seed)
    await sender.send(RELOAD, lambda: OLD)
    gateway.write(OLD, NEW)
    await sender.send(RELOAD, lambda: OLD)
    before, signed = gateway.by_secret(), len(sender.signed)
    await sender.send(options.seconds, lambda: chance.choice((OLD, NEW)))
    found = gateway.by_secret() - before
    expected = Counter(str((OLD, NEW).index(secret)) for secret in list(sender.signed.values())[signed:])
    await asyncio.sleep(RELOAD)  # the log is written behind the answers
    log = gateway.log()
    await sender.send(RELOAD, lambda: NEW)
    gateway.write(NEW)
    await sender.send(2 * RELOAD, lambda: NEW)
    last = await sender.post(OLD)
    sender.close()
    report(sender, found, log, options)
    return [
        *([] if sender.statuses == {202: sender.statuses[202], 401: 1} else [f"answers: {sender.statuses}"]),
        *([] if found == expected else [f"metrics say {found} instead of {expected}"]),
        *([] if log else ["the log names no secret"]),
        *(
            f"the log says {place} of {guid}"
            for guid, place in log.items()
            if sender.signed[guid] != (OLD, NEW)[place]
        ),
        *([] if last == 401 else ["the old secret still counts in the end"]),
    ]


def report(sender: Sender, found: Counter[str], log: dict[str, int], options: argparse.Namespace) -> None:
    """Print what was measured."""
    times = sorted(sender.times)
    print(f"{machine()}; durability = os")
    print(f"{len(times)} pushes, {options.rate:g} a second, both secrets for {options.seconds:g} s")
    print(f"answers: {dict(sender.statuses)}, of which one 401 is the old secret in the end")
    print(f"while both counted: {found['0']} by the old one, {found['1']} by the new one, as the metrics say")
    print(f"the log names the secret of each of the newest {len(log)}")
    print(f"p50 {statistics.median(times) * 1000:.1f} ms, p99 {times[len(times) * 99 // 100] * 1000:.1f} ms")


def main() -> int:
    """Print what was measured and what is wrong; 1 where anything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with house() as gateway:
        wrong = uvloop.run(rotate(gateway, options))
    for sentence in wrong[:20]:
        print(f"wrong: {sentence}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
