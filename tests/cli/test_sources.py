"""`tidemill sources` and `schemas`: what the gateway will go by, and never a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Call


@pytest.mark.usefixtures("project")
def test_sources_show_where_to_post_and_hide_secrets(call: Call) -> None:
    rows = {row["name"]: row for row in call("sources", "list", "--json").json()}
    assert set(rows) == {"github", "stripe", "desk"}
    assert rows["github"]["url"] == "http://127.0.0.1:8080/webhooks/github"
    assert rows["github"]["secrets"] == "*** (active), *** (expired)"
    for words in (("list",), ("show", "github"), ("show", "github", "--json")):
        result = call("sources", *words)
        assert result.code == 0
        assert "one of them" not in result.out


@pytest.mark.usefixtures("project")
def test_a_source_shows_its_recipe_and_samples(call: Call) -> None:
    row = call("sources", "show", "stripe", "--json").json()
    assert row["recipe"]["verify"][0]["signed"] == "{timestamp}.{body}"
    assert "invoice.paid" in row["samples"]
    missing = call("sources", "show", "shop")
    assert missing.code == 1
    assert "[sources.shop]" in missing.err


def test_a_secret_that_doesnt_resolve_is_marked(call: Call, project: Path) -> None:
    (project / "tidemill.toml").write_text(
        '[gateway]\npublic_url = "https://h.example/"\n'
        '[sources.a]\npreset = "github"\nsecrets = ["env:NOT_THERE"]\n'
    )
    (row,) = call("sources", "list", "--json").json()
    assert row["secrets"] == "env:NOT_THERE (unusable)"
    assert row["url"] == "https://h.example/webhooks/a"


def test_without_sources_the_way_to_one_is_said(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "tidemill init" in call("sources", "list").out


@pytest.mark.usefixtures("project")
def test_presets_are_listed_and_explained(call: Call) -> None:
    rows = {row["name"]: row for row in call("sources", "list", "--presets", "--json").json()}
    assert len(rows) >= 90
    assert rows["slack"]["scheme"] == "HMAC-SHA256"
    assert rows["slack"]["verification"] == "oracle"
    assert rows["clio"]["verification"] == "catalogue"
    assert rows["mailgun"]["covers"] == "not the body"
    table = call("sources", "list", "--presets").out
    assert all(name in table for name in ("discord", "Ed25519", "basic authentication", "url verification"))
    shown = call("sources", "show", "twilio")
    assert shown.code == 0
    assert "[sources.twilio]" in shown.out
    assert "public_url" in shown.out
    assert "TWILIO_SECRET" in call("sources", "show", "twilio", "--json").json()["settings"]
    assert call("sources", "show", "nobody").code == 1


def test_schemas_are_listed_with_ones_own(call: Call, project: Path) -> None:
    own = project / "schemas" / "acme" / "order" / "2.json"
    own.parent.mkdir(parents=True)
    own.write_text('{"type": "object"}')
    with (project / "tidemill.toml").open("a") as file:
        file.write('[schemas]\ndirectories = ["schemas"]\n')
    rows = call("schemas", "list", "--json").json()
    assert {"source": "acme", "type": "order", "version": 2, "file": str(own)} in rows
    assert {row["source"] for row in rows} >= {"github", "stripe"}
    assert json.loads(call("schemas", "show", "acme", "order").out) == {"type": "object"}
    assert json.loads(call("schemas", "show", "github", "github.push").out)["type"] == "object"
    assert call("schemas", "show", "github", "nothing").code == 1
    assert {row["source"] for row in call("schemas", "list", "--source", "acme", "--json").json()} == {"acme"}


def test_a_learning_source_says_what_it_has_learned(call: Call, project: Path) -> None:
    recipe = {
        "verify": {"signature": {"at": "header:X-Sig"}},
        "handshake": {"name": "hook", "when": {"header:X-Hook": True}, "learn": "header:X-Hook"},
    }
    (project / "tidemill.toml").write_text(f"[sources.desk]\nrecipe = '{json.dumps(recipe)}'\nlearn = true\n")
    row = call("sources", "show", "desk", "--json").json()
    assert (row["handshakes"], row["learned"]) == (["hook"], "nothing yet")
    gone = call("sources", "forget", "desk")
    assert gone.code == 1
    assert "tidemill dev" in gone.err
