"""The Makefile, the script of CI, and the lock files."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
MAKEFILE: Final = (ROOT / "Makefile").read_text()
TARGETS: Final = tuple(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split())
REQUIREMENT: Final = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def locked(name: str) -> dict[str, set[str]]:
    """Return the versions that a lock file pins, by distribution; markers may pin several."""
    found: dict[str, set[str]] = {}
    for distribution, version in REQUIREMENT.findall((ROOT / "requirements" / f"{name}.lock").read_text()):
        found.setdefault(distribution, set()).add(version)
    return found


def normal(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make ([a-z]+) +\S", listed, re.MULTILINE) == list(TARGETS)


@pytest.mark.parametrize("target", ["demo", "test", "check", "wheel"])
def test_the_targets_of_the_readme_and_ci_exist(target: str) -> None:
    assert target in TARGETS


def test_make_without_a_python_says_so(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    made = subprocess.run(
        ["make", "PYTHON=", ".venv/.created"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode != 0
    assert "Python 3.11 or later is needed" in made.stdout


def test_the_ci_script_is_sound_and_runs_what_the_readme_names() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    words = script.read_text()
    assert all(f"\nmake {target}" in words for target in ("check", "test", "wheel", "demo"))
    assert "set -euo pipefail" in words


def test_every_direct_dependency_is_locked() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = {normal(requirement) for requirement in project["project"]["dependencies"]}
    development = {normal(requirement) for requirement in project["dependency-groups"]["dev"]}
    assert runtime <= {normal(name) for name in locked("runtime")}
    assert runtime | development <= {normal(name) for name in locked("dev")}
    fuzz = {normal(requirement) for requirement in project["dependency-groups"]["fuzz"]}
    assert fuzz <= {normal(name) for name in locked("fuzz")}


def test_the_locks_agree() -> None:
    development = locked("dev")
    for name in ("runtime", "build", "fuzz"):
        for distribution, versions in locked(name).items():
            assert versions <= development.get(distribution, versions)


@pytest.mark.parametrize("name", ["runtime", "dev", "build", "fuzz"])
def test_the_locks_are_hashed_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    assert "http" not in re.sub(r"^[a-z0-9-]*http[a-z0-9-]*==.*$", "", text, flags=re.MULTILINE)
    assert text.count("--hash=sha256:") >= len(REQUIREMENT.findall(text))


def test_the_npm_lock_names_no_registry() -> None:
    assert "resolved" not in (ROOT / "tests" / "npm" / "package-lock.json").read_text()
