"""Webhooks per second: the gateway beside a naive Starlette app, in turn in one run, medians over rounds.

python benchmarks/ingress.py [--rounds 5] [--seconds 5] [--connections 64] [--durability os fsync]

All run as one process each on uvloop and httptools, beside one broker; another process makes the load. The
naive app is `naive_app.py` as it stands, and once more `tuned`: no reading of the JSON, no access log. The
gateway reads the JSON strictly, validates it against its schema, normalises it to a CloudEvent, answers
with the event's id, counts what it does and bounds what it reads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench_site import HERE, SECRET, cpu_seconds, free_port, wait_for

GATEWAY = (
    "import uvloop; from gateway.server import serve; from tidemill.kernel.settings.model import Settings; "
)
APPS = ("naive", "naive tuned", "gateway")
Sample = dict[str, float]


@contextmanager
def process(*command: str, port: int, folder: Path) -> Iterator[int]:
    with (folder / "log").open("ab") as log:
        child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=log)
    try:
        wait_for(port)
        yield child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(20)


def measure(port: int, pid: int, options: argparse.Namespace, seconds: float) -> Sample:
    used = cpu_seconds(pid)
    arguments = (str(HERE / "load.py"), str(port), str(options.connections), str(seconds), SECRET)
    answer = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)
    sample: Sample = json.loads(answer.stdout)
    sample["cpu_us"] = (cpu_seconds(pid) - used) / sample["requests"] * 1e6
    return sample


@contextmanager
def broker(folder: Path, durability: str) -> Iterator[str]:
    port, sync = free_port(), "sync_interval: always" if durability == "fsync" else ""
    config = folder / "nats.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/store"\n{sync} }}\n')
    server = str(Path(sys.executable).with_name("nats-server"))
    with process(server, "-c", str(config), "-l", str(folder / "nats.log"), port=port, folder=folder):
        yield f"nats://127.0.0.1:{port}"


def settings(folder: Path, url: str, port: int, durability: str) -> None:
    text = f"""
        [gateway]
        listen = "127.0.0.1:{port}"
        [control]
        listen = "127.0.0.1:0"
        [nats]
        url = "{url}"
        durability = "{durability}"
        [events]
        max_bytes = "4GiB"
        [sources.github]
        preset = "github"
        secrets = ["{SECRET}"]
    """
    (folder / "tidemill.toml").write_text(text)


def command(app: str, url: str, port: int) -> tuple[str, ...]:
    """Return how an application is started."""
    if app == "gateway":
        return sys.executable, "-c", GATEWAY + "uvloop.run(serve(Settings.load()))"
    return sys.executable, str(HERE / "naive_app.py"), url, str(port), SECRET, *app.split()[1:]


def compare(durability: str, options: argparse.Namespace) -> None:
    rounds: dict[str, list[Sample]] = {name: [] for name in APPS}
    with tempfile.TemporaryDirectory() as name, broker(Path(name), durability) as url:
        folder, ports = Path(name), {app: free_port() for app in APPS}
        settings(folder, url, ports["gateway"], durability)
        with ExitStack() as stack:
            pids = {
                app: stack.enter_context(process(*command(app, url, port), port=port, folder=folder))
                for app, port in ports.items()
            }
            for app, port in ports.items():
                measure(port, pids[app], options, 1.0)
            for _ in range(options.rounds):
                for app, port in ports.items():
                    rounds[app].append(measure(port, pids[app], options, options.seconds))
    report(durability, rounds)


def report(durability: str, rounds: dict[str, list[Sample]]) -> None:
    print(f"\ndurability = {durability}")
    print(f"{'':12} {'webhooks/s':>10} {'p50 ms':>7} {'p99 ms':>7} {'CPU us each':>11} {'not 202':>7}")
    for app, samples in rounds.items():
        middle = {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}
        failed = sum(int(sample["failed"]) for sample in samples)
        print(
            f"{app:12} {middle['rate']:10.0f} {middle['p50']:7.1f} {middle['p99']:7.1f}"
            f" {middle['cpu_us']:11.0f} {failed:7} (load generator at {middle['cpu']:.0%} of a core)"
        )
    for other in APPS[:-1]:
        ratios = [g["rate"] / n["rate"] for n, g in zip(rounds[other], rounds["gateway"], strict=True)]
        print(f"gateway / {other}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--durability", nargs="+", default=["os", "fsync"], choices=["os", "fsync"])
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} CPUs", end=", ")
    print(f"{options.connections} connections, {options.rounds} rounds of {options.seconds:g} s")
    for durability in options.durability:
        compare(durability, options)


if __name__ == "__main__":
    main()
