"""Coverage-guided fuzzing: `python -m tests.fuzz.run recipe json --seconds 60 [--keep]`.

It takes atheris, which `make fuzz` installs. An input on which a target raises, or which takes five seconds
or 2 GiB, is written to the folder `.fuzz` and ends the run with an error. With `--keep` the fewest inputs
that reach all that was reached become the kept corpus.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fuzz import corpus, seeds

WORK = Path(".fuzz")
MAX_LENGTH = 4096
SEEDS = {"recipe": seeds.recipes, "json": seeds.documents}


def fuzz(name: str, seconds: int, *, keep: bool) -> int:
    """Fuzz a target in a process of its own; return its exit code."""
    folder = WORK / name
    found, given = folder / "found", folder / "given"
    found.mkdir(parents=True, exist_ok=True)
    corpus.unpack([*corpus.load(name), *SEEDS[name]()], given)
    limits = [
        "-timeout=5",
        "-rss_limit_mb=2048",
        f"-max_len={MAX_LENGTH}",
        f"-dict={dictionary(name, folder)}",
    ]
    options = [f"-max_total_time={seconds}", "-print_final_stats=1", f"-artifact_prefix={folder}/", *limits]
    code = _engine(name, [*options, str(found), str(given)])
    return minimise(name, [*limits, str(found), str(given)]) if keep and code == 0 else code


def minimise(name: str, arguments: list[str]) -> int:
    """Keep the fewest inputs that reach all that is reached."""
    merged = WORK / name / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    code = _engine(name, ["-merge=1", str(merged), *arguments])
    if code == 0:
        corpus.save(name, [path.read_bytes() for path in merged.iterdir()])
    return code


def _engine(name: str, arguments: list[str]) -> int:
    launcher = WORK / name / "engine"
    module = f"{sys.executable} -m tests.fuzz.engine"
    launcher.write_text(f'#!/bin/sh\nexec {module} {name} "$0" "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    return subprocess.run([str(launcher), *arguments], check=False).returncode


def dictionary(name: str, folder: Path) -> Path:
    """Write the words of which a target's inputs are made."""
    words = importlib.import_module(f"tests.fuzz.{name}_target").DICTIONARY
    path = folder / "words"
    path.write_text("".join(f'"{word}"\n' for word in words), encoding="latin-1")
    return path


def main() -> int:
    """Do what the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="+", choices=SEEDS)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="minimise what was found into the kept corpus")
    options = parser.parse_args()
    return max(fuzz(name, options.seconds, keep=options.keep) for name in options.targets)


if __name__ == "__main__":
    sys.exit(main())
