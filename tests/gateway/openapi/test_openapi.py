"""schemathesis makes requests from both listeners' OpenAPI documents and sends them to a mill that runs.

Every answer has to be what the document says, and none may be a 5xx. `--api-examples` makes more of them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.cli.conftest import Mill, Service
from tests.patience import until_seen

HERE: Final = Path(__file__).parent
KEY: Final = "a key for events"
SETTINGS: Final = f"""
[gateway]
secret_key = "{base64.b64encode(bytes(32)).decode()}"
[nats]
durability = "os"
[sources.github]
preset = "github"
secrets = ["one"]
tenants = true
[sources.any]
allow_unsigned = true
recipe = {{}}
[sources.desk]
learn = true
[sources.desk.recipe]
verify = {{ signature = {{ at = "header:X-Sig" }} }}
handshake = {{ name = "hook", when = {{ "header:X-Hook" = true }}, learn = "header:X-Hook" }}
[[events.keys]]
name = "tests"
hash = "sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
"""
TASKS: Final = '''\
"""Tasks of the mill."""

from __future__ import annotations

from typing import Any

from tidemill import Abort, Context, task


@task
async def echo(value: Any) -> Any:
    return value


@task
async def doomed() -> None:
    raise Abort("no")


@task
async def approve(ctx: Context) -> bool:
    return (await ctx.wait_for_approval("ship", timeout="1h")).approved


@task
async def ask(ctx: Context) -> str:
    await ctx.wait_for_signal("go", str, timeout="1h")
    return await ctx.token("address", str, timeout="1h")
'''


ENDLESS = ("/api/v1/deliveries/stream", "/api/v1/live", "/api/v1/runs/{run}/logs")
"""Answers that go on until their client has enough."""


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    folder = tmp_path_factory.mktemp("mill")
    (folder / "tidemill.toml").write_text(SETTINGS)
    (folder / "tasks.py").write_text(TASKS)
    dev = Service(("dev", "tasks.py", "--port", "0", "--no-reload"), folder)
    try:
        control, public = dev.addresses()
        running = Mill(folder, public, control)
        _fill(running)
        yield running
    finally:
        assert dev.end() == 0, "\n".join(dev.lines)
        assert "Traceback" not in "\n".join(dev.lines)


def _fill(mill: Mill) -> None:
    """Let something of every kind be there, and note how it is called."""
    with httpx.Client(base_url=mill.public) as public:
        for body in ('{"a":1}', '{"a":NaN}'):
            public.post("/webhooks/any", content=body).raise_for_status()
        public.post("/webhooks/desk", headers={"X-Hook": "a secret"}, content="{}")
    with httpx.Client(base_url=mill.control) as control:
        for task in ("echo", "doomed", "approve", "ask"):
            control.post(f"/api/v1/tasks/{task}/trigger", json={"payload": None}).raise_for_status()
        known = {
            "source": ["github", "any", "desk"],
            "tenant": ["acme"],
            "task": ["echo", "doomed", "approve", "ask"],
            "name": ["go"],
            "run": _ids(control, "runs", "run_id", 4),
            "key": _ids(control, "dead", "id", 1),
            "id": [
                *_ids(control, "events", "id", 1),
                *_ids(control, "quarantine", "id", 1),
                *_ids(control, "tokens", "id", 1),
            ],
        }
    (mill.folder / "known.json").write_text(json.dumps(known))


def _ids(control: httpx.Client, path: str, name: str, least: int) -> list[str]:
    def look() -> list[str] | None:
        found: dict[str, Any] = control.get(f"/api/v1/{path}").raise_for_status().json()
        ids = [str(one[name]) for one in found[path]]
        return ids if len(ids) >= least else None

    seen: list[str] = until_seen(look)
    return seen


@pytest.mark.integration
@pytest.mark.timeout(600)
@pytest.mark.parametrize("listener", ["public", "control"])
def test_every_answer_is_what_the_document_says(
    mill: Mill, listener: str, request: pytest.FixtureRequest
) -> None:
    shutil.copy(HERE / "schemathesis.toml", mill.folder)
    examples = request.config.getoption("--api-examples")
    random = [] if examples == "12" else ["--seed", str(time.time_ns() % 2**32)]
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--no-color", "run"),
        *(f"{getattr(mill, listener)}/openapi.json", "--phases", "examples,coverage,fuzzing"),
        *(word for path in ENDLESS for word in ("--exclude-path", path)),
        *("--max-examples", examples, "--continue-on-failure", "--warnings", "off"),
        *(random or ["--generation-deterministic"]),
        *(["-H", f"Authorization: Bearer {KEY}"] if listener == "public" else []),
    ]
    environ = os.environ | {"SCHEMATHESIS_HOOKS": "known_ids", "PYTHONPATH": str(HERE)}  # noqa: TID251 - a child's
    done = subprocess.run(
        command, cwd=mill.folder, env=environ, capture_output=True, text=True, timeout=590, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "generated" in done.stdout
