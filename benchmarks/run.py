"""All benchmarks of the whole product, one after the other: `make bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ("ingress.py", "stages.py", "runs.py", "latency.py", "durable.py", "waiting.py")


def main() -> int:
    """Run each script in a process of its own; return how many failed."""
    failed = 0
    for script in SCRIPTS:
        print(f"\n== {script}", flush=True)
        failed += subprocess.run([sys.executable, str(HERE / script)], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
