"""What one GitHub push costs in the intake: microseconds for the whole and for its parts.

    python benchmarks/intake.py [--profile]

The delivery is the 7 kB sample `schemas/github/push`, with the headers that GitHub sends. Rounds are
timed one by one; the median says what it costs, the best what it costs undisturbed.
"""

from __future__ import annotations

import argparse
import cProfile
import hmac
import pstats
import statistics
import time
from typing import TYPE_CHECKING

import orjson

from gateway import strictjson
from gateway.inbound import Inbound
from gateway.intake import Intake, kept_headers
from gateway.normalise import Delivery, Normaliser
from gateway.reading import Content
from gateway.recipes.presets import preset
from gateway.recipes.samples import body_of, find_sample, new_id
from gateway.recipes.sign import sign
from gateway.recipes.verify import Verification, Verified
from gateway.schemas import SchemaStore
from gateway.verdict import Accepted
from tidemill.kernel.settings.secrets import Secret
from tidemill.kernel.subjects import delivery_key

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 40
CALLS = 500


def microseconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the median and the best time of one call."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            work()
        times.append((time.perf_counter() - start) / CALLS * 1e6)
    return statistics.median(times), min(times)


def push() -> tuple[Intake, Inbound, Secret, SchemaStore]:
    """Return the intake of a GitHub source and a push that is signed for it."""
    recipe, secret, store = (
        preset("github"),
        Secret("a secret of forty characters, as it should"),
        SchemaStore(),
    )
    event_id = new_id(recipe)
    body = body_of(recipe, find_sample("github", "push"), event_id=event_id, timestamp=time.time())
    headers = sign(recipe, secret, body, event_type="push", event_id=event_id, timestamp=time.time())
    headers |= {"Host": "hooks.example", "Content-Length": str(len(body)), "Accept-Encoding": "gzip"}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    inbound = Inbound("POST", "/webhooks/github", "", raw, body, time.time())
    return Intake("github", recipe, secrets=(secret,), schemas=store), inbound, secret, store


def parts(
    intake: Intake, inbound: Inbound, secret: Secret, store: SchemaStore
) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name."""
    verdict = intake.receive(inbound)
    if not isinstance(verdict, Accepted):
        raise SystemExit(f"the sample isn't accepted: {verdict}")
    document, schema = orjson.loads(inbound.body), store.find(("github",), ("push",))
    normaliser, delivery = (
        Normaliser(intake.recipe.event, intake.derived.of),
        Delivery(inbound, Content(document), Verified(0), document),
    )
    verification = Verification(intake.recipe)
    return {
        "Intake.receive, all of it": lambda: intake.receive(inbound),
        "  verify": lambda: verification.verify(inbound, (secret,)),
        "    of it HMAC alone": lambda: hmac.digest(b"key", inbound.body, "sha256"),
        "  read strictly": lambda: strictjson.loads(inbound.body),
        "    of it orjson alone": lambda: orjson.loads(inbound.body),
        "  name": lambda: normaliser.identify(delivery),
        "  validate": lambda: schema.check(document) if schema else None,
        "  delivery key": lambda: delivery_key("github", verdict.envelope.id),
        "  headers": lambda: kept_headers(inbound),
        "Envelope.to_frame, after it": verdict.envelope.to_frame,
    }


def main() -> None:
    """Print the table, or with --profile where the time goes by function."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", action="store_true", help="run under cProfile instead")
    intake, inbound, secret, store = push()
    if parser.parse_args().profile:
        with cProfile.Profile() as profile:
            for _ in range(CALLS * 10):
                intake.receive(inbound)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    print(f"GitHub push of {len(inbound.body)} bytes, {len(inbound.headers)} headers; microseconds")
    print(f"{'':32}{'median':>8}{'best':>8}")
    for name, work in parts(intake, inbound, secret, store).items():
        median, best = microseconds(work)
        print(f"{name:32}{median:8.1f}{best:8.1f}")


if __name__ == "__main__":
    main()
