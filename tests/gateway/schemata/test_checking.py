from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.schemas import BUNDLED
from gateway.schemata.checking import check_folder


def write(folder: Path, name: str, content: Any) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_product_s_own_schemas_are_sound() -> None:
    checked = check_folder(BUNDLED)
    assert checked.problems == []
    assert checked.schemas > 100
    assert checked.samples > 100
    assert check_folder(BUNDLED, "stripe").schemas == 6


def test_every_problem_is_named_with_its_file(tmp_path: Path) -> None:
    write(tmp_path, "acme/paid/1.json", {"required": ["id"]})
    write(tmp_path, "acme/paid/2.json", {"required": ["id", "total"], "$id": "tidemill:schemas/acme/paid/1"})
    write(tmp_path, "acme/paid/3.json", {"type": "objekt"})
    write(tmp_path, "acme/paid/draft.json", {})
    write(tmp_path, "acme/paid/samples/old.json", {"id": 1})
    write(tmp_path, "acme/paid/samples/broken.json", "{")
    write(tmp_path, "acme/orders:paid/1.json", {})
    write(tmp_path, "acme/void/1.json", {"required": ["id"]})
    write(tmp_path, "acme/void/samples/bad.json", {})
    checked = check_folder(tmp_path)
    found = {
        Path(problem.file).relative_to(tmp_path).as_posix(): problem.problem for problem in checked.problems
    }
    assert (checked.schemas, checked.samples) == (5, 3)
    assert found.keys() == {
        "acme/paid/2.json",
        "acme/paid/3.json",
        "acme/paid/draft.json",
        "acme/paid/samples/broken.json",
        "acme/orders:paid",
        "acme/void/samples/bad.json",
    }
    assert "'objekt' is not valid" in found["acme/paid/3.json"]
    assert "tidemill:schemas/acme/paid/2" in found["acme/paid/2.json"]
    assert found["acme/orders:paid"] == "is no folder of a type: write it 'orders%3Apaid'"
    assert '"id" is a required property' in found["acme/void/samples/bad.json"]
