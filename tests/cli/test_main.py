"""The entry point: global options, exit codes, and what users see of an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tidemill.cli import main
from tidemill.cli.invocation import Invocation, invocation
from tidemill.cli.shadows import HOME, check_shadows
from tidemill.kernel.errors import BrokerError, DefinitionError, NotFoundError, SettingsError, TidemillError


def tidemill(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidemill.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=60)


def test_help_lists_every_command() -> None:
    result = tidemill("--help")
    assert result.returncode == 0
    assert "init" in result.stdout
    assert "--config" in result.stdout


def test_without_a_command_help_is_shown() -> None:
    assert "Usage" in tidemill().stdout + tidemill().stderr


def test_the_version_is_the_distributions() -> None:
    assert tidemill("--version").stdout == "tidemill 0.1.0\n"


def test_an_unknown_command_is_a_usage_error() -> None:
    result = tidemill("inti")
    assert result.returncode == 2
    assert "inti" in result.stderr


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Run the entry point with a command that raises, and return its exit code."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "app", app)
    monkeypatch.setattr(main, "COMMANDS", ())
    monkeypatch.setattr(sys, "argv", ["tidemill"])
    with pytest.raises(SystemExit) as caught:
        main.run()
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("a setting is wrong", hint="mend it"), 2),
        (DefinitionError("no task", hint="mend it"), 2),
        (NotFoundError("no run", hint="mend it"), 1),
        (BrokerError("no broker", hint="mend it"), 1),
    ],
)
def test_an_error_is_a_sentence_a_hint_and_an_exit_code(
    error: TidemillError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(error, monkeypatch) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {error.sentence}\nhint: mend it\n"


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(KeyboardInterrupt(), monkeypatch) == 130


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError(), monkeypatch)


def test_global_options_reach_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text("[worker]\nslots = 3\n")
    settings = Invocation(path, "https://mill:8081", "env:KEY").settings({"worker": {"threads": 2}})
    assert (settings.worker.slots, settings.worker.threads) == (3, 2)
    assert settings.client.url == "https://mill:8081"
    assert str(settings.client.key) == "env:KEY"


def test_a_command_finds_the_global_options() -> None:
    seen: list[Invocation] = []
    app = typer.Typer()
    app.callback()(main.tidemill)

    @app.command()
    def look(context: typer.Context) -> None:
        seen.append(invocation(context))

    app(["--config", "a.toml", "--url", "http://b", "--key", "c", "look"], standalone_mode=False)
    assert seen == [Invocation(Path("a.toml"), "http://b", "c")]


def test_nothing_shadows_the_packages_here() -> None:
    check_shadows()


@pytest.mark.parametrize("name", ["gateway", "consumers"])
def test_a_module_that_shadows_a_package_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("")
    result = tidemill("init", cwd=tmp_path)
    assert result.returncode == 2
    assert f"{tmp_path}/{name}.py shadows Tidemill's package '{name}'" in result.stderr
    assert [path.name for path in tmp_path.glob("*.toml")] == []


def test_a_foreign_package_in_the_schemas_folder_is_named(tmp_path: Path) -> None:
    for name in ("gateway", "consumers"):
        (tmp_path / name).symlink_to(HOME / name)
    (tmp_path / "schemas" / "recipes").mkdir(parents=True)
    (tmp_path / "schemas" / "__init__.py").write_text("")
    with pytest.raises(DefinitionError, match="shadows"):
        check_shadows(tmp_path)


def test_users_own_schemas_folder_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "__init__.py").write_text("")
    assert tidemill("init", cwd=tmp_path).returncode == 0
