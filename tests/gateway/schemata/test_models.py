"""Models that are written from schemas are run, checked and given the samples."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import orjson
import pytest
from pydantic import BaseModel, ValidationError

from gateway.schemas import BUNDLED, SchemaStore
from gateway.schemata.models import class_name, write_models
from tidemill.kernel.subjects import unescape_type

ROOT: Final = Path(__file__).parents[3]


def bundled() -> dict[str, list[tuple[str, Any]]]:
    found: dict[str, list[tuple[str, Any]]] = {}
    for source, event_type, _, path in SchemaStore().known():
        found.setdefault(source, []).append((event_type, orjson.loads(path.read_bytes())))
    return found


def module_of(path: Path, text: str) -> ModuleType:
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def same(sent: Any, written: Any) -> bool:
    """Say whether two documents say the same: instants may be written in another way."""
    if isinstance(sent, dict) and isinstance(written, dict):
        return sent.keys() == written.keys() and all(same(sent[key], written[key]) for key in sent)
    if isinstance(sent, list) and isinstance(written, list):
        return len(sent) == len(written) and all(map(same, sent, written))
    if isinstance(sent, str) and isinstance(written, str) and sent != written:
        return datetime.fromisoformat(sent) == datetime.fromisoformat(written)
    return bool(sent == written)


@pytest.mark.parametrize("source", sorted(bundled()))
def test_every_sample_passes_through_its_model_unchanged(source: str, tmp_path: Path) -> None:
    name = f"written_{source.replace('-', '_')}"
    events: dict[str, type[BaseModel]] = module_of(
        tmp_path / f"{name}.py", write_models(source, bundled()[source])
    ).EVENTS
    for path in BUNDLED.glob(f"{source}/*/samples/*.json"):
        document = orjson.loads(path.read_bytes())
        event = events[unescape_type(path.parents[1].name)].model_validate_json(path.read_bytes())
        written = event.model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert same(document, written), path


def test_the_models_of_all_sources_are_clean(tmp_path: Path) -> None:
    for source, schemas in bundled().items():
        (tmp_path / f"events_of_{source.replace('-', '_')}.py").write_text(write_models(source, schemas))
    for command in (
        ["ruff", "check", "--no-cache", "--config", ROOT / "pyproject.toml", "--ignore", "INP001", tmp_path],
        ["ruff", "format", "--no-cache", "--check", "--config", ROOT / "pyproject.toml", tmp_path],
        [
            "mypy",
            "--strict",
            "--config-file=",
            "--cache-dir",
            ROOT / ".mypy_cache" / "models",
            *sorted(tmp_path.glob("*.py")),
        ],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_names_that_python_or_pydantic_takes_are_replaced(tmp_path: Path) -> None:
    keys = [
        "from",
        "class",
        "json",
        "model_config",
        "copy",
        "2fa",
        "created-at",
        "createdAt",
        "str",
        "dt",
        "---",
        "übung",
        "__x",
    ]
    schema = {"type": "object", "required": keys, "properties": {key: {"type": "string"} for key in keys}}
    event = module_of(tmp_path / "odd.py", write_models("odd", [("a/b-c", schema)])).EVENTS["a/b-c"]
    document = dict.fromkeys(keys, "x")
    assert event.__name__ == "ABCEvent"
    assert event.model_validate(document).model_dump(by_alias=True) == document
    with pytest.raises(ValidationError):
        event.model_validate(document | {"from": 7})


def test_a_hostile_schema_writes_no_code_of_its_own(tmp_path: Path) -> None:
    text = '"""\nraise SystemExit\n"""'
    schema = {
        "type": "object",
        "title": text,
        "properties": {
            text: {"const": text},
            "b": {"type": "object", "title": text, "properties": {text: {}}},
        },
    }
    event = module_of(tmp_path / "hostile.py", write_models("hostile", [(text, schema)])).EVENTS[text]
    assert event.model_validate({text: text}).model_dump(by_alias=True, exclude_unset=True) == {text: text}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("push", "Push"),
        ("orders/create", "OrdersCreate"),
        ("PAYMENT.CAPTURE.REFUNDED", "PaymentCaptureRefunded"),
        ("jira:issue_created", "JiraIssueCreated"),
        ("issueId", "IssueId"),
        ("2", "T2"),
        ("", "T"),
    ],
)
def test_class_names(text: str, name: str) -> None:
    assert class_name(text) == name
