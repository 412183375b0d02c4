"""`tidemill schemas`: checking, comparing and writing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.cli.schemas_compare import _takes
from tidemill.cli.schemas_write import full_types
from tidemill.kernel.services.drift_reports import summed

if TYPE_CHECKING:
    from conftest import Call, Mill

pytestmark = pytest.mark.usefixtures("project")


def versions(folder: Path, *schemas: Any) -> None:
    (folder / "schemas/acme/paid/samples").mkdir(parents=True)
    for number, schema in enumerate(schemas, 1):
        (folder / f"schemas/acme/paid/{number}.json").write_text(json.dumps(schema))
    settings = folder / "tidemill.toml"
    settings.write_text(settings.read_text() + '[schemas]\ndirectories = ["schemas"]\n')


def test_check_looks_at_the_product_s_and_at_one_s_own(call: Call, project: Path) -> None:
    whole = call("schemas", "check", "--json").json()
    assert whole["problems"] == []
    assert whole["schemas"] > 100
    versions(project, {"required": ["id"]})
    (project / "schemas/acme/paid/samples/a.json").write_text("{}")
    result = call("schemas", "check")
    assert result.code == 1
    assert '"id" is a required property' in result.out
    alone = call("schemas", "check", "schemas", "--json")
    assert alone.code == 1
    assert (json.loads(alone.out)["schemas"], len(json.loads(alone.out)["problems"])) == (1, 1)
    assert call("schemas", "check", "nowhere").code == 1


def test_show_prints_the_newest_version_or_the_one_that_is_named(call: Call, project: Path) -> None:
    versions(project, {"title": "one"}, {"title": "two"})
    assert call("schemas", "show", "acme", "paid").json() == {"title": "two"}
    assert call("schemas", "show", "acme", "acme.paid", "--version", "1").json() == {"title": "one"}
    assert call("schemas", "show", "acme", "paid", "--version", "3").code == 1


def test_diff_compares_versions_and_files(call: Call, project: Path) -> None:
    versions(project, {"type": "object"}, {"type": "object", "required": ["id"]}, {"type": "object"})
    harmful = call("schemas", "diff", "acme", "paid", "1", "2", "--no-tasks", "--json")
    assert harmful.code == 1
    assert json.loads(harmful.out) == {
        "changes": [{"path": "$.id", "change": "is required now", "breaks": ["writers"]}],
        "breaking": 1,
        "tasks": [],
        "tasks_unknown": None,
    }
    latest = call("schemas", "diff", "acme", "paid", "--no-tasks")
    assert latest.code == 1
    assert "is no longer described" in latest.out
    assert "readers" in latest.out
    files = [f"schemas/acme/paid/{number}.json" for number in (1, 3)]
    assert call("schemas", "diff", *files).out.startswith("nothing has changed")
    for words in (("acme", "paid", "1", "9"), ("acme", "void"), ("acme",), ("acme", "paid", "one", "2")):
        assert call("schemas", "diff", *words, "--no-tasks").code == 1


@pytest.mark.integration
def test_diff_names_the_tasks_that_take_the_type(call: Call, mill: Mill) -> None:
    (mill.folder / "old.json").write_text(json.dumps({"$id": "tidemill:schemas/github/push/1"}))
    (mill.folder / "new.json").write_text(json.dumps({"$id": "tidemill:schemas/github/push/2"}))
    told = call("--url", mill.control, "schemas", "diff", "old.json", "new.json", "--json").json()
    assert told["tasks"] == ["announce", "elsewhere"]
    (mill.folder / "new.json").write_text(json.dumps({"$id": "tidemill:schemas/github/issues/2"}))
    result = call("--url", mill.control, "schemas", "diff", "old.json", "new.json")
    assert "tasks that take github.issues: puzzled" in result.out
    away = call("--url", "http://127.0.0.1:1", "schemas", "diff", "old.json", "new.json")
    assert "which tasks take it is unknown" in away.out


def test_infer_reads_files_and_folders(call: Call, project: Path) -> None:
    (project / "captured").mkdir()
    for number in range(3):
        (project / f"captured/{number}.json").write_text(json.dumps({"id": number, "state": "open"}))
    schema = call("schemas", "infer", "acme", "acme.paid", "--from", "captured").json()
    assert schema["$id"] == "tidemill:schemas/acme/paid/1"
    assert schema["required"] == ["id", "state"]
    written = call("schemas", "infer", "acme", "paid", "--from", "captured/0.json", "--out", "1.json")
    assert written.code == 0
    assert json.loads((project / "1.json").read_text())["description"] == "Inferred from 1 document."
    assert "exists already" in call("schemas", "infer", "a", "b", "--from", "1.json", "--out", "1.json").err
    (project / "captured/bad.json").write_text("{")
    assert "can't be read as JSON" in call("schemas", "infer", "a", "b", "--from", "captured").err


@pytest.mark.integration
def test_infer_reads_stored_events(call: Call, mill: Mill) -> None:
    for event_type in ("issues.opened", "issues.labeled"):
        assert call("send", "github", event_type, "--to", mill.public).code == 0
    schema = call("--url", mill.control, "schemas", "infer", "github", "issues").json()
    assert {"action", "issue", "repository"} <= set(schema["required"])
    assert "label" not in schema["required"]
    nothing = call("--url", mill.control, "schemas", "infer", "github", "never")
    assert "nothing of github.never" in nothing.err


def test_models_are_written_for_types_that_have_schemas(call: Call, project: Path) -> None:
    one = call("schemas", "models", "github", "github.push")
    assert "class PushEvent(EventModel):" in one.out
    assert "IssuesEvent" not in one.out
    assert call("schemas", "models", "stripe", "--out", "events.py").code == 0
    compile((project / "events.py").read_text(), "events.py", "exec")
    versions(project, {"type": "object", "properties": {"id": {"type": "integer"}}})
    assert "id: int | None = None" in call("schemas", "models", "acme").out
    assert "there are: paid" in call("schemas", "models", "acme", "void").err
    assert call("schemas", "models", "nobody").code == 1


def test_reports_of_drift_are_added_up_by_place() -> None:
    field = {"kind": "new_field", "path": "$.tide", "events": 2, "example": None}
    value = {"kind": "new_value", "path": "$.state", "events": 1, "example": "void"}
    reports = [
        {"source": "acme", "type": "paid", "at": "2026-10-26T08:00:00+00:00", "findings": [field, value]},
        {"source": "acme", "type": "paid", "at": "2026-10-26T07:00:00+00:00", "findings": [field]},
        {"source": "acme", "type": "void", "at": "2026-10-26T07:30:00+00:00", "findings": [field]},
    ]
    rows = {(row["type"], row["path"]): row for row in summed(reports)}
    assert len(rows) == 3
    assert rows["paid", "$.tide"] == {
        "source": "acme",
        "type": "paid",
        "kind": "new_field",
        "path": "$.tide",
        "events": 4,
        "example": None,
        "first_seen": "2026-10-26T07:00:00+00:00",
        "last_seen": "2026-10-26T08:00:00+00:00",
    }
    assert rows["paid", "$.state"]["example"] == "void"


@pytest.mark.integration
def test_drift_is_asked_for_over_either_way(call: Call, way: tuple[str, ...]) -> None:
    assert call(*way, "schemas", "drift", "--source", "nobody").out == "no drift was seen\n"
    assert call(*way, "schemas", "drift", "--source", "nobody", "--json").json() == []


@pytest.mark.parametrize(
    ("pattern", "source", "event_type", "takes"),
    [
        ("github.push", "github", "push", True),
        ("github.issues.*", "github", "issues", True),
        ("github.issues.opened", "github", "issues", True),
        ("github.>", "github", "issues", True),
        ("*.issues.opened", "github", "issues", True),
        ("github.push", "github", "issues", False),
        ("github.issues.opened.late", "github", "issues", False),
        ("order.paid", "events", "order.paid", True),
        ("events.order.paid", "events", "order.paid", False),
        ("order.paid.late", "events", "order.paid", False),
    ],
)
def test_a_task_takes_a_type_with_any_action(
    pattern: str,
    source: str,
    event_type: str,
    takes: bool,  # noqa: FBT001 - a parameter
) -> None:
    assert any(_takes({"on": [pattern]}, name) for name in full_types(source, event_type)) is takes
