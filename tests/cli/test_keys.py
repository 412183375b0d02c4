"""`tidemill keys`: a key is shown once, its hash lets it in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.settings.keys import hash_key

if TYPE_CHECKING:
    from conftest import Call


def test_what_create_prints_are_settings_that_let_the_key_in(call: Call, project: Path) -> None:
    out = call("keys", "create", 'a "b"', "--role", "viewer").out
    key = out.splitlines()[0].removeprefix("key: ")
    table = out[out.index("[[control.keys]]") : out.index("\nuse it")]
    with (project / "tidemill.toml").open("a") as file:
        file.write(table)
    found = call("keys", "check", key, "--json").json()
    assert found == {"name": 'a "b"', "role": "viewer", "hash": hash_key(key)}
    wrong = call("keys", "check", key + "x")
    assert wrong.code == 1
    assert hash_key(key + "x") in wrong.err


@pytest.mark.usefixtures("project")
def test_create_speaks_json_and_never_repeats_itself(call: Call) -> None:
    first, second = (call("keys", "create", "ci", "--json").json() for _ in range(2))
    assert first["key"] != second["key"]
    assert first["hash"] == hash_key(first["key"])
    assert first["role"] == "admin"


def test_a_key_is_read_from_standard_input(
    call: Call, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (project / "tidemill.toml").open("a") as file:
        file.write(f'[control]\nkeys = [{{name = "ci", hash = "{hash_key("tm_1")}"}}]\n')
    monkeypatch.setattr("sys.stdin", io.StringIO("tm_1\n"))
    assert "ci" in call("keys", "check").out
