"""Two million hostile requests, chosen by Hypothesis: `make hostile COUNT=2000000`.

Several processes judge them in batches, each with a seed of its own. The first that raises, or passes though
it was spoilt, is shrunk and printed, and ends the run with 1. In the end stand what all of them came to, and
the requests that took the most CPU time and memory; one over a bound is an error too.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
import time
from random import Random

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import track

from tests.gateway.recipes.hostile import genuine, spoil
from tests.gateway.recipes.hostile_judge import Judge, Tally

BATCH = 10_000
MOST_SECONDS = 1.0
MOST_MEBIBYTES = 128.0


@functools.cache
def _judge() -> Judge:
    return Judge()


def batch(number: int, count: int = BATCH) -> Tally:
    """Judge a batch of requests that Hypothesis makes from a seed."""
    judge = _judge()
    judge.tally = Tally()

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def send(chance: Random) -> None:
        judge.judge(spoil(chance.choice(genuine()), chance))

    send()
    return judge.tally


def report(tally: Tally, seconds: float) -> str:
    """Return what all requests came to, line by line."""
    lines = [f"{number:>9} {outcome}" for outcome, number in tally.outcomes.most_common()]
    lines += ["the most CPU time of one request:"]
    lines += [f"{taken * 1000:9.1f} ms  {what}" for taken, what in tally.slowest]
    lines += ["the largest growth of a process by one request:"]
    lines += [f"{grown:9.1f} MiB {what}" for grown, what in tally.grown]
    return "\n".join([*lines, f"{tally.outcomes.total()} requests in {seconds:.0f} s"])


def main() -> int:
    """Send as many as the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1, help="the first batch's")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    started, whole = time.perf_counter(), Tally()
    seeds = range(options.seed, options.seed + -(-options.count // BATCH))
    genuine()
    with multiprocessing.Pool(options.processes) as pool:
        for tally in track(
            pool.imap_unordered(batch, seeds), "judging", len(seeds), console=Console(stderr=True)
        ):
            whole.add(tally)
    print(report(whole, time.perf_counter() - started))  # noqa: T201 - a script that prints
    dear = whole.slowest[0][0] > MOST_SECONDS or bool(whole.grown and whole.grown[0][0] > MOST_MEBIBYTES)
    return int(dear)


if __name__ == "__main__":
    sys.exit(main())
