"""`tidemill init` writes a project that works."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.cli.init import SECRET, scaffold
from tidemill.kernel.errors import ConflictError
from tidemill.kernel.settings.model import Settings

FILES = {"tidemill.toml", "tasks.py", "test_tasks.py", ".gitignore", SECRET}


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=100
    )


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_settings_are_valid_and_the_secret_resolves(tmp_path: Path) -> None:
    scaffold(tmp_path)
    settings = Settings.load(tmp_path / "tidemill.toml", {})
    (secret,) = settings.secrets_of("github")
    assert len(secret.reveal()) == 64
    assert settings.nats.data_dir == tmp_path / ".tidemill"


def test_every_project_has_a_secret_of_its_own_that_only_its_owner_reads(tmp_path: Path) -> None:
    scaffold(tmp_path / "a")
    scaffold(tmp_path / "b")
    first, second = (tmp_path / name / SECRET for name in "ab")
    assert first.read_text() != second.read_text()
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700


def test_what_is_private_is_ignored_by_git(tmp_path: Path) -> None:
    scaffold(tmp_path)
    ignored = (tmp_path / ".gitignore").read_text().splitlines()
    assert {".secrets/", ".tidemill/"} <= set(ignored)


def test_the_tasks_own_test_passes(tmp_path: Path) -> None:
    scaffold(tmp_path)
    result = run("pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout


def test_the_module_is_typed_and_clean(tmp_path: Path) -> None:
    scaffold(tmp_path)
    result = run("mypy", "--strict", "tasks.py", "test_tasks.py", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    result = run("ruff", "check", "--isolated", "tasks.py", "test_tasks.py", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_overwritten(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(ConflictError, match=name):
        scaffold(tmp_path)
    assert names(tmp_path) == {name}
    assert path.read_text() == "mine"


def test_force_overwrites(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("mine")
    scaffold(tmp_path, force=True)
    assert (tmp_path / "tasks.py").read_text() != "mine"
    assert names(tmp_path) == FILES


def test_force_keeps_a_secret_that_a_sender_may_use(tmp_path: Path) -> None:
    scaffold(tmp_path)
    secret = (tmp_path / SECRET).read_text()
    scaffold(tmp_path, force=True)
    assert (tmp_path / SECRET).read_text() == secret


def test_the_command_says_what_it_wrote_and_what_comes_next(tmp_path: Path) -> None:
    result = run("tidemill.cli.main", "init", "shop", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert names(tmp_path / "shop") == FILES
    assert "cd shop" in result.stdout
    again = run("tidemill.cli.main", "init", "shop", cwd=tmp_path)
    assert again.returncode == 1
    assert "--force" in again.stderr


def test_the_command_speaks_json(tmp_path: Path) -> None:
    result = run("tidemill.cli.main", "init", "--json", cwd=tmp_path)
    assert set(json.loads(result.stdout)["written"]) == FILES
