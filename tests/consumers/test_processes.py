"""Handlers that are executed in processes of their own, on a real broker."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from consumers.loader import load
from tests.consumers.conftest import Mill, StartWorker
from tests.patience import until
from tidemill.kernel.errors import DefinitionError
from tidemill.task import task

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]
HANDLERS = """
import os, signal, time
from pathlib import Path
from typing import Annotated
from tidemill import Abort, Depends, Retry, SyncContext, task

heavy = task(executor="process", retry=Retry(max_attempts=2, min_delay=0, jitter=False))

def model() -> int:
    return os.getpid()

@heavy
def adds(numbers: list[int], loaded: Annotated[int, Depends(model, scope="worker")]) -> dict[str, int]:
    return {"sum": sum(numbers), "pid": os.getpid(), "loaded": loaded}

@heavy
def tells(ctx: SyncContext) -> list[str]:
    ctx.log.warning("told from a process")
    try:
        ctx.step("one", len, "x")
    except Exception as error:
        return [ctx.run_id, str(ctx.attempt), str(error)]
    return []

@heavy
def dies(folder: str, ctx: SyncContext) -> int:
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt

@heavy
def always_dies() -> None:
    os._exit(7)

@heavy
def gives_up() -> None:
    raise Abort("no use")

@heavy
def spins(folder: str) -> None:
    Path(folder, "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(0.01)

@heavy
def listens(folder: str, ctx: SyncContext) -> str:
    Path(folder, "pid").write_text(str(os.getpid()))
    while not ctx.cancelled:
        time.sleep(0.01)
    return "stopped by itself"
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_handlers_are_executed_in_processes(
    mill: Mill, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / f"jobs_{tmp_path.name}.py"
    file.write_text(HANDLERS)
    tasks = load([str(file)])
    async with mill.engine(), mill.worker(*tasks, cpu_processes=1):
        views = [await mill.ended(await mill.trigger("adds", [1, 2, number])) for number in (3, 4)]
        assert [view.result["sum"] for view in views] == [6, 7]
        assert len({view.result["pid"] for view in views}) == 1
        assert all(view.result["loaded"] == view.result["pid"] != os.getpid() for view in views)

        run = await mill.trigger("tells")
        told = (await mill.ended(run)).result
        assert told[:2] == [run, "1"]
        assert 'leave out executor="process"' in told[2]
        assert any(record.getMessage() == "told from a process" for record in caplog.records)

        view = await mill.ended(await mill.trigger("dies", str(tmp_path)))
        assert (view.status, view.result) == ("completed", 2)
        assert "SIGKILL" in view.state.faults[0].message

        view = await mill.ended(await mill.trigger("always_dies"))
        assert view.status == "crashed"
        assert [fault.message for fault in view.state.faults] == [
            "the handler's process ended with exit code 7"
        ] * 2

        view = await mill.ended(await mill.trigger("gives_up"))
        assert view.status == "failed"
        assert view.state.attempts == 0

        run = await mill.trigger("spins", str(tmp_path))
        pid = int(await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
        await mill.runs.signal(run, "cancel")
        assert (await mill.ended(run)).status == "cancelled"
        assert not alive(pid)

        (tmp_path / "pid").unlink()
        run = await mill.trigger("listens", str(tmp_path))
        pid = int(await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
        await mill.runs.signal(run, "cancel")
        assert (await mill.ended(run)).result == "stopped by itself"
        assert alive(pid)
    await until(lambda: not alive(pid))


@pytest.mark.crash
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_processes_end_with_their_worker(
    mill: Mill, start_worker: StartWorker, tmp_path: Path, number: signal.Signals
) -> None:
    worker = await start_worker(HANDLERS, "--no-engine", TIDEMILL_WORKER__SHUTDOWN_TIMEOUT="0.1")
    first = (await mill.ended(await mill.trigger("adds", [1]), within=60)).result["pid"]
    run = await mill.trigger("spins", str(tmp_path))
    second = int(await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    assert first == second
    worker.signal(number)
    await worker.exits(within=60)
    await until(lambda: not alive(second))
    assert (await mill.runs.get(run)).status in ("queued", "running")


def test_what_a_process_cant_execute_is_said_at_import() -> None:
    with pytest.raises(DefinitionError, match="not in a process"):

        @task(executor="process")
        async def on_loop() -> None: ...

    with pytest.raises(DefinitionError, match="finds its task again"):

        @task(executor="process")
        def local() -> None: ...

    with pytest.raises(DefinitionError, match="is none"):
        task(executor="fibre")  # type: ignore[typeddict-item] # that is the point
