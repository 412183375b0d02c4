"""The run of three steps in Restate: `restate_app.py SERVER RUNS` prints its figures as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import restate
from pace import AT_ONCE, pace
from restate import Context, Service

bench = Service("bench")


async def add_one(number: int) -> int:
    return number + 1


@bench.handler()
async def three_steps(ctx: Context, number: int) -> int:
    for _ in range(3):
        number = await ctx.run_typed("add", add_one, number=number)
    return number


app = restate.app([bench])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_up(client: httpx.AsyncClient, url: str) -> None:
    deadline = time.monotonic() + 40
    while True:
        try:
            (await client.get(url)).raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


async def measure(ingress: int, admin: int, service: int, runs: int) -> dict[str, float]:
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        await until_up(client, f"http://127.0.0.1:{admin}/health")
        for _ in range(50):
            answer = await client.post(
                f"http://127.0.0.1:{admin}/deployments", json={"uri": f"http://127.0.0.1:{service}"}
            )
            if answer.is_success:
                break
            await asyncio.sleep(0.2)
        answer.raise_for_status()

        async def execute(number: int) -> int:
            answer = await client.post(f"http://127.0.0.1:{ingress}/bench/three_steps", json=number)
            answer.raise_for_status()
            return int(answer.json())

        return await pace(execute, runs)


def main() -> None:
    command, runs = sys.argv[1], int(sys.argv[2])
    ingress, admin, fabric, service = (free_port() for _ in range(4))
    with tempfile.TemporaryDirectory(prefix="bench-restate-") as folder:
        environment = os.environ | {  # noqa: TID251 - the child's, not settings
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{fabric}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{fabric}",
            "RESTATE_BASE_DIR": folder,
            "RESTATE_LOG_FILTER": "error",
            "RESTATE_DISABLE_TELEMETRY": "true",
        }
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        server = subprocess.Popen([command], env=environment, cwd=folder, **quiet)
        serving = subprocess.Popen(
            [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{service}", "restate_app:app"],
            cwd=Path(__file__).parent,
            **quiet,
        )
        try:
            print(json.dumps(asyncio.run(measure(ingress, admin, service, runs))), flush=True)
        finally:
            for process in (serving, server):
                process.terminate()
                process.wait(20)


if __name__ == "__main__":
    main()
