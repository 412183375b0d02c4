"""The documentation is complete: settings, commands, errors, dependencies; and its links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import typer

from gateway.sources import build_intakes
from tidemill.cli import main
from tidemill.kernel import errors
from tidemill.kernel import settings as settings_package
from tidemill.kernel.jetstream.topology import wanted
from tidemill.kernel.settings.live import LiveSettings
from tidemill.kernel.settings.merging import known_keys
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.secrets import SecretRef
from tidemill.kernel.settings.sections import Section
from tidemill.kernel.subjects import Names

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted(DOCS.rglob("*.md"))
SIZES: Final = {"max_run", "max_body", "max_bytes", "max_memory", "max_head"}
UNITS: Final = ((30, "GiB"), (20, "MiB"), (10, "KiB"))
DURATIONS: Final = {
    "shutdown_timeout",
    "lease",
    "keep",
    "tombstone",
    "max_age",
    "duplicate_window",
    "tolerance",
    "request_timeout",
    "linger",
    "keep_runs",
    "keep_bodies",
    "patience",
    "timeout",
    "min_delay",
    "max_delay",
    "breaker_pause",
    "session",
    "interval",
    "group_wait",
    "group_interval",
    "repeat",
    "retry_for",
}


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def settings_modules() -> list[ModuleType]:
    """Return every module of the settings: the sections stand in several."""
    names = [found.name for found in pkgutil.iter_modules(settings_package.__path__)]
    return [importlib.import_module(f"{settings_package.__name__}.{name}") for name in names]


def descriptions() -> dict[tuple[str, str], str]:
    """Return what stands below each key in the source, by class and key."""
    found = {}
    for model in (
        node for module in settings_modules() for node in ast.parse(inspect.getsource(module)).body
    ):
        if isinstance(model, ast.ClassDef):
            for field, after in zip(model.body, model.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                    assert isinstance(field.target, ast.Name)
                    found[model.name, field.target.id] = ast.literal_eval(after.value)
    return found


def keys_with_models() -> Iterator[tuple[str, type[Section], str]]:
    """Yield every key with the model that holds it and its name there."""
    members = [item for module in settings_modules() for item in vars(module).items()]
    models = {name: cls for name, cls in members if inspect.isclass(cls)}
    for key in known_keys(Settings):
        section, _, name = key.rpartition(".")
        if section:
            yield key, models[MODEL_OF[section]], name


MODEL_OF: Final = {
    "alerts.slack.<name>": "SlackSettings",
    "alerts.email.<name>": "EmailSettings",
    "alerts.webhook.<name>": "AlertWebhookSettings",
    "alerts.webhook.<name>.secrets": "SourceSecret",
    "alerts.rules.<name>": "RuleSettings",
    "control.keys": "ApiKey",
    "run_logs": "RunLogsSettings",
    "control.oidc": "OidcSettings",
    "control.proxy": "ProxySettings",
    "events.issuers": "TokenIssuer",
    "events.issuers.scopes": "TokenScope",
    "events.keys": "EventKey",
    "nats.tls": "TlsSettings",
    "destinations.<name>": "DestinationSettings",
    "destinations.<name>.retry": "DestinationRetry",
    "destinations.<name>.secrets": "SourceSecret",
    "sources.<name>": "SourceSettings",
    "sources.<name>.keep_refused": "KeepRefused",
    "sources.<name>.secrets": "SourceSecret",
    "sources.<name>.verify_tokens": "SourceSecret",
} | {
    name: f"{name.capitalize()}Settings"
    for name in Settings.model_fields
    if name not in ("sources", "destinations", "run_logs")
}


def shown(name: str, value: object) -> str:
    """Return a default as a user would write it."""
    if value is None or value == "" or isinstance(value, Section):
        return "those below" if isinstance(value, Section) else "none"
    if name in SIZES and isinstance(value, int):
        digits, unit = next((shift, unit) for shift, unit in UNITS if value >> shift)
        return f"`{value >> digits}{unit}`"
    if name in DURATIONS and isinstance(value, float):
        return f"`{duration(value)}`"
    if isinstance(value, SecretRef):
        return f"`{value.text}`"
    if isinstance(value, tuple):
        return "`[{}]`".format(", ".join(str(item) for item in value))
    return f"`{value}`".lower() if isinstance(value, bool) else f"`{value}`"


def duration(value: float) -> str:
    if value > 86400 and value % 86400 == 0:
        return f"{value / 86400:g}d"
    return f"{value / 3600:g}h" if value % 3600 == 0 else f"{value:g}s"


def setting_rows() -> list[str]:
    """Return the row of every setting as it has to stand in docs/settings.md."""
    said = descriptions()
    rows = []
    for key, model, name in keys_with_models():
        info = model.model_fields[name]
        default = (
            "required" if info.is_required() else shown(name, getattr(info.default, "enabled", info.default))
        )
        rows.append(f"| `{key}` | {default} | {said[model.__name__, name]} |")
    return rows


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield every command of the command line, with its groups before it."""
    for name, command in getattr(group, "commands", {}).items():
        if getattr(command, "commands", None):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name))


@pytest.fixture(scope="module")
def command_line() -> Any:
    if not main.app.registered_groups:
        main.register()
    return typer.main.get_command(main.app)


def test_every_setting_stands_in_the_docs_with_its_default() -> None:
    page = set(text_of("settings.md").splitlines())
    missing = [row for row in setting_rows() if row not in page]
    assert missing == [], "add these rows:\n" + "\n".join(missing)


def test_settings_in_the_docs_can_be_served(tmp_path: Path) -> None:
    pages = "".join(
        text_of(name)
        for name in (
            "access.md",
            "alerts.md",
            "settings.md",
            "deliveries.md",
            "handshakes.md",
            "event-api.md",
            "tenants.md",
            "published-keys.md",
        )
    )
    examples = re.findall(r"^```toml\n(\[.*?)^```", pages, re.MULTILINE | re.DOTALL)
    whole = [text for text in examples if "…" not in text]
    assert len(whole) >= 8
    for text in whole:
        (tmp_path / "tidemill.toml").write_text(text, encoding="utf-8")
        environ = dict.fromkeys(re.findall(r"env:(\w+)", text), "secret")
        settings = Settings.load(tmp_path / "tidemill.toml", environ)
        assert build_intakes(settings, LiveSettings(settings)).keys() == settings.sources.keys()


def test_the_docs_name_no_setting_that_doesnt_exist() -> None:
    rows = {line for line in text_of("settings.md").splitlines() if re.match(r"\| `[a-z_.<>]+` \|", line)}
    assert rows - set(setting_rows()) == set()


def test_every_command_stands_in_the_docs(command_line: Any) -> None:
    found = list(commands(command_line))
    assert "init" in found
    page = text_of("cli.md")
    assert [command for command in found if f"`tidemill {command}" not in page] == []


def test_every_global_option_stands_in_the_docs(command_line: Any) -> None:
    page = text_of("cli.md")
    options = {name for parameter in command_line.params for name in parameter.opts if name.startswith("--")}
    assert {"--config", "--url", "--key", "--version"} <= options
    assert {name for name in options if f"`{name}" not in page} == set()


def test_every_error_stands_in_the_docs_with_what_to_do() -> None:
    page = text_of("errors.md")
    classes = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]
    assert len(classes) > 10
    assert [cls.__name__ for cls in classes if f"### {cls.__name__}\n" not in page] == []


def test_every_error_stands_in_the_drawn_tree() -> None:
    classes = [
        name for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)
    ]
    assert [name for name in classes if name not in (errors.__doc__ or "")] == []


def test_every_dependency_says_why() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *chain(*project["dependency-groups"].values())]
    names = {re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0] for requirement in wanted}
    rows = set(re.findall(r"^\| `([A-Za-z0-9._-]+)` \| \S", text_of("dependencies.md"), re.MULTILINE))
    assert names - rows == set()
    assert rows - names == set(), "these are no dependencies any more"


def test_the_index_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([a-z0-9/-]+\.md)\)", text_of("index.md")))
    pages = {str(page.relative_to(DOCS)) for page in PAGES} - {"index.md"}
    providers = {page for page in pages if page.startswith("providers/")} - {"providers/index.md"}
    assert pages - providers - linked == set()
    listed = set(re.findall(r"\]\(([a-z0-9-]+\.md)\)", text_of("providers/index.md")))
    assert {page.removeprefix("providers/") for page in providers} == listed


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_decisions_are_numbered_and_have_the_same_parts() -> None:
    decisions = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        parts = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences"], path.name


def test_the_architecture_names_what_stands_on_the_broker() -> None:
    table = text_of("architecture.md").split("## What stands on the broker")[1]
    declared = {stream.name for stream in wanted(Names()).streams}
    assert {name for name in declared if f"`{name}`" not in table} == set()


def test_the_architecture_has_its_two_pictures() -> None:
    assert re.findall(r"```mermaid\n(\S+)", text_of("architecture.md")) == ["flowchart", "stateDiagram-v2"]
