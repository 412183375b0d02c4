"""The run of three steps in DBOS: `dbos_app.py sqlite|postgresql RUNS` prints its figures as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dbos import DBOS
from pace import pace


@DBOS.step()
async def add_one(number: int) -> int:
    return number + 1


@DBOS.workflow()
async def three_steps(number: int) -> int:
    for _ in range(3):
        number = await add_one(number)
    return number


async def execute(number: int) -> int:
    handle = await DBOS.start_workflow_async(three_steps, number)
    return await handle.get_result()


def start_postgres(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    subprocess.run(
        [*as_user, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "bench"],
        check=True,
        capture_output=True,
    )
    command = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses="]
    server = subprocess.Popen([*as_user, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (folder / ".s.PGSQL.5432").exists():
        if time.monotonic() > deadline:
            raise RuntimeError("postgres doesn't start")
        time.sleep(0.1)
    time.sleep(1)
    subprocess.run(
        [*as_user, str(binaries / "createdb"), "-h", str(folder), "-U", "bench", "bench"], check=True
    )
    return server, f"postgresql://bench@/bench?host={folder}"


def main() -> None:
    kind, runs = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="bench-dbos-") as name:
        folder, server = Path(name), None
        url = f"sqlite:///{folder}/dbos.sqlite"
        try:
            if kind == "postgresql":
                server, url = start_postgres(folder)
            DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
            DBOS.launch()
            print(json.dumps(asyncio.run(pace(execute, runs))), flush=True)
            DBOS.destroy()
        finally:
            if server is not None:
                server.terminate()
                server.wait(20)


if __name__ == "__main__":
    main()
