"""`tidemill events dry-run`, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Call

pytestmark = pytest.mark.integration


def test_a_file_is_judged(way: tuple[str, ...], call: Call, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"type": "github.push", "source": "github", "data": {"ref": "x"}}))
    row = call(*way, "events", "dry-run", str(file), "--json").json()
    told = {one["task"]: one["verdict"] for one in row["tasks"]}
    assert row["event"] == {"type": "github.push", "source": "github"}
    assert {"filtered", "starts", "other_type"} == set(told.values())

    file.write_text('{"ref": "x"}')
    as_data = call(
        *way, "events", "dry-run", str(file), "--type", "github.push", "--source", "github", "--json"
    )
    assert as_data.json() == row
    assert "it starts on" in call(*way, "events", "dry-run", str(file), "--type", "x.y").out


def test_what_cant_be_judged_is_told(way: tuple[str, ...], call: Call, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(b"\xff\xfe")
    assert call(*way, "events", "dry-run", str(file)).code == 1
    file.write_text("{")
    assert call(*way, "events", "dry-run", str(file)).code == 1
    file.write_text("{}")
    assert call(*way, "events", "dry-run", str(file)).code == 1
    assert call(*way, "events", "dry-run", "no-such-event").code == 1
