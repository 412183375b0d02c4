"""A run of three steps: runs per second and the time from trigger to result, beside peers.

python benchmarks/durable.py [--rounds 3] [--runs 2000] [--peers FOLDER] [--durability os fsync]

Engine and worker are one process each, beside the broker; a client in this process triggers runs and waits
for their results: one by one for the latency, 64 at a time for the rate. Peers are measured in the same
rounds, in turn, by `peers/dbos_app.py` and `peers/restate_app.py`, where the folder holds them:

    python -m venv FOLDER
    FOLDER/bin/pip install dbos==3.4.0 restate-sdk==1.3.0 hypercorn==0.18.0
    npm install --prefix FOLDER @restatedev/restate-server

DBOS uses SQLite, and PostgreSQL too where its programs are installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
from pathlib import Path
from typing import Any

import uvloop
from bench_handlers import three_steps
from bench_site import machine, site
from peers.pace import pace

from tidemill.client import Client, use
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.settings.model import Settings
from tidemill.nats_transport import NatsTransport

PEERS = Path(__file__).parent / "peers"


async def ours(durability: str, runs: int) -> dict[str, float]:
    """Measure Tidemill."""
    with site(durability) as running:
        await asyncio.to_thread(running.start_engine)
        await asyncio.to_thread(running.start, "worker", "worker", "--no-engine", "bench_handlers")
        async with open_broker(Settings.load(running.config), name="benchmark") as broker:
            with use(Client(NatsTransport(Runs(broker)))):
                return await pace(execute, runs)


async def execute(number: int) -> int:
    """Trigger a run, and wait for its result."""
    run = await three_steps.trigger(number)
    return await run.result(timeout=60)


def peer(python: Path, script: str, *words: str) -> dict[str, float]:
    """Measure a peer with the same numbers of runs at the same time."""
    done = subprocess.run(
        [str(python), str(PEERS / script), *words], check=True, capture_output=True, text=True, timeout=300
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def contestants(folder: Path | None, durabilities: list[str], runs: int) -> dict[str, Any]:
    """Return who is measured, by name."""
    found: dict[str, Any] = {
        f"tidemill, {durability}": lambda durability=durability: uvloop.run(ours(durability, runs))
        for durability in durabilities
    }
    if folder is None:
        return found
    python = (folder / "bin/python").absolute()
    few = str(max(64, runs // 10))
    found["dbos, sqlite"] = lambda: peer(python, "dbos_app.py", "sqlite", few)
    if any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        found["dbos, postgresql"] = lambda: peer(python, "dbos_app.py", "postgresql", few)
    server = str((folder / "node_modules/.bin/restate-server").absolute())
    found["restate"] = lambda: peer(python, "restate_app.py", server, few)
    return found


def main() -> None:
    """Print the medians over all rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--durability", nargs="+", default=["os", "fsync"], choices=["os", "fsync"])
    parser.add_argument("--peers", type=Path)
    options = parser.parse_args()
    print(f"runs of three steps; {machine()}")
    everybody = contestants(options.peers, options.durability, options.runs)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in everybody}
    for _ in range(options.rounds):
        for name, measure in everybody.items():
            results[name].append(measure())
    for name, rounds in results.items():
        rates = sorted(one["rate"] for one in rounds)
        middle = statistics.median(rates)
        p50 = statistics.median(one["p50"] for one in rounds)
        print(
            f"{name:20} {middle:7.0f} runs/s ({rates[0]:.0f} to {rates[-1]:.0f}), one by one p50 {p50:.1f} ms"
        )


if __name__ == "__main__":
    main()
