"""`tidemill events save --sample --redact`: real events as golden samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.cli.capture import prepare_sample_file, written_data
from tidemill.kernel.errors import PayloadError, SettingsError
from tidemill.kernel.settings.model import Settings
from tidemill.testing import sample

if TYPE_CHECKING:
    from conftest import Call, Mill


def settings(folder: Path) -> Settings:
    return Settings.load(None, {}, {"schemas": {"directories": [str(folder)]}})


@pytest.mark.parametrize(
    ("event", "place"),
    [
        ({"type": "github.push", "dataschema": "tidemill:schemas/github/push/1"}, "github/push"),
        (
            {"type": "github.issues.open", "dataschema": "tidemill:schemas/github/issues/12"},
            "github/issues",
        ),
        ({"type": "github.orders/paid", "dataschema": None}, "github/orders%2Fpaid"),
        ({"type": "github.push", "dataschema": "tidemill:schemas/github/../1"}, "github/push"),
        ({"type": "github...", "dataschema": "https://else.example/where"}, "github/%.%.%"),
        ({"type": "paid", "source": "../../etc"}, "%2E%2E/paid"),
    ],
)
def test_a_sample_stands_beside_the_schema_that_it_fits(
    event: dict[str, Any], place: str, tmp_path: Path
) -> None:
    path = prepare_sample_file(settings(tmp_path), {"source": "github/acme", **event}, "mine")
    assert path == tmp_path / place / "samples/mine.json"
    assert path.parent.is_dir()


def test_what_can_t_be_a_sample_is_said(tmp_path: Path) -> None:
    event = {"source": "github", "type": "github.push"}
    for name in ("", "../up", "a b", "x" * 65):
        with pytest.raises(PayloadError):
            prepare_sample_file(settings(tmp_path), event, name)
    with pytest.raises(SettingsError, match="no folder for samples"):
        prepare_sample_file(Settings.load(None, {}), event, "mine")
    with pytest.raises(PayloadError, match="no JSON"):
        written_data({"data": None}, None)


@pytest.mark.integration
def test_a_stored_event_becomes_a_sample_without_who_was_in_it(
    call: Call, mill: Mill, tmp_path: Path
) -> None:
    guid = "5f4c1c8e-9f50-4b7e-8a2b-6e1f4c07d9aa"
    assert call("send", "github", "push", "--id", guid, "--to", mill.public).code == 0
    (tmp_path / "mine").mkdir()
    config = tmp_path / "other.toml"
    config.write_text('[schemas]\ndirectories = ["mine"]\n')
    words = ("--config", str(config), "--url", mill.control)
    saved = call(*words, "events", "save", guid, "--sample", "real", "--redact", "--json").json()
    assert saved["written"] == str(tmp_path / "mine/github/push/samples/real.json")
    real, golden = sample("github", "push", directory=tmp_path / "mine"), sample("github", "push")
    assert real["after"] == golden["after"]
    assert real["pusher"]["email"].startswith("user")
    assert golden["pusher"]["email"] not in json.dumps(real)
    assert call(*words, "schemas", "check").code == 0
    assert call(*words, "events", "save", guid, "--sample", "real").code == 1
    printed = call(*words, "events", "save", guid, "-", "--redact-key", "after")
    assert json.loads(printed.out)["after"] == "REDACTED"
