"""What a GitHub push costs now and in another checkout: python benchmarks/since.py FOLDER [--rounds 9].

    git worktree add /tmp/before COMMIT && python benchmarks/since.py /tmp/before

Each tree's gateway is a process of its own beside a broker of its own, and both get the same load at the same
time, so that neighbours disturb them alike. What is compared is the CPU time of the gateway's process for
each request. The first round warms up and doesn't count.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench_site import HERE, free_port, machine, wait_for
from ingress import GATEWAY, broker, measure, settings

NOW, BEFORE = "now", "before"


@contextmanager
def gateway(tree: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """Give the port and the process id of a tree's gateway, with a broker of its own."""
    folder.mkdir()
    port = free_port()
    with broker(folder, "os") as url, (folder / "gateway.log").open("wb") as log:
        settings(folder, url, port, "os")
        child = subprocess.Popen(
            [sys.executable, "-c", GATEWAY + "uvloop.run(serve(Settings.load()))"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(tree)},  # noqa: TID251 - the child's, not settings
        )
        try:
            wait_for(port)
            yield port, child.pid
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(30)


def main() -> None:
    """Print the medians over all rounds, and the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    trees = {NOW: HERE.parent, BEFORE: options.folder.absolute()}
    costs: dict[str, list[float]] = {name: [] for name in trees}
    with (
        tempfile.TemporaryDirectory(prefix="tidemill-since-") as name,
        ExitStack() as stack,
        ThreadPoolExecutor(2) as pool,
    ):
        running = {
            tree: stack.enter_context(gateway(path, Path(name) / tree)) for tree, path in trees.items()
        }
        for number in range(options.rounds + 1):
            samples = pool.map(lambda one: measure(*one, options, options.seconds), running.values())
            for tree, sample in zip(running, samples, strict=True):
                if sample["failed"]:
                    raise SystemExit(f"{tree}: {sample['failed']:.0f} requests weren't answered 202")
                if number:
                    costs[tree].append(sample["cpu_us"])
    print(f"7 kB GitHub push, {options.connections} connections, {options.rounds} rounds; {machine()}")
    for tree, found in costs.items():
        print(
            f"{tree:8} {statistics.median(found):6.0f} us of CPU each ({min(found):.0f} to {max(found):.0f})"
        )
    ratios = [now / before for now, before in zip(costs[NOW], costs[BEFORE], strict=True)]
    print(f"now / before: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
