"""The public names infer the contract's types: two checkers over code that uses and misuses them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = [
    str(HERE / name)
    for name in ("sdk_in_use.py", "durable_in_use.py", "schedules_in_use.py", "sdk_misused.py")
]
LIMIT = 240.0


def in_ci() -> bool:
    return os.environ.get("CI") == "true"  # noqa: TID251 - tests ask where they run, the product doesn't


def check(*command: str) -> None:
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # noqa: TID251 - for a child process
    done = subprocess.run(
        [sys.executable, "-m", *command, *FILES],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(LIMIT + 30)
def test_mypy_infers_what_the_contract_says() -> None:
    cache = ROOT / ".mypy_cache" / "typing"
    check("mypy", "--strict", "--config-file=", "--python-version=3.11", f"--cache-dir={cache}")


@pytest.mark.npm
@pytest.mark.timeout(LIMIT + 30)
def test_pyright_infers_what_the_contract_says() -> None:
    if shutil.which("node") is None and not in_ci():
        pytest.skip("pyright needs Node")
    assert shutil.which("node"), "pyright needs Node, and CI has to have it"
    check("pyright", "--pythonversion", "3.11", "--pythonpath", sys.executable)
