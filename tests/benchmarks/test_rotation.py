"""A secret is replaced while webhooks come, for a few seconds: nobody is refused, each secret is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/rotation.py"


@pytest.mark.integration
def test_no_request_is_refused_while_a_secret_is_replaced() -> None:
    command = [sys.executable, str(SCRIPT), "--seconds", "2", "--rate", "50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of which one 401 is the old secret in the end" in done.stdout
