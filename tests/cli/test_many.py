"""The same done to many dead letters or entries of the quarantine, straight to the broker and over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.patience import until_seen

if TYPE_CHECKING:
    from conftest import Call, Mill

pytestmark = pytest.mark.integration
Way = tuple[str, ...]


def test_dead_letters_that_fit_are_shown_then_retried(call: Call, way: Way, mill: Mill) -> None:
    names = [f"many-{len(way)}-{number}" for number in range(2)]
    for name in names:
        call(*way, "trigger", "mend", "--payload", json.dumps(name), "--wait", "--json")
    words = ("dead", "list", "--task", "mend", "--error", f"MANY-{len(way)}-", "--since", "1h", "--json")
    rows = until_seen(lambda: found if len(found := call(*way, *words).json()) == len(names) else None)
    where = ("--where", "task=mend", "--where", f"error=many-{len(way)}-", "--where", "outcome=failed")
    looked = call(*way, "dead", "retry", *where, "--dry-run")
    assert looked.out.count("FileNotFoundError") == 2
    assert "2 dead letters fit task=mend" in looked.out
    selection = call(*way, "dead", "retry", *where, "--dry-run", "--json").json()
    assert sorted(row["id"] for row in selection["first"]) == sorted(row["id"] for row in rows)
    assert call(*way, *words).json() == rows, "looking has changed something"
    for name in names:
        (mill.folder / name).touch()
    done = call(*way, "dead", "go-on", selection["token"], "--json").json()
    assert (done["what"], done["done"] + done["queued"], done["refused"]) == ("dead", 2, 0)
    for row in rows:
        until_seen(
            lambda run=row["id"]: call(*way, "runs", "show", run, "--json").json()["status"] == "completed"
        )
    changes = call(*way, "audit", "list", "--target", selection["token"], "--json").json()
    assert {one["detail"]["dead"] for one in changes} == {"2"}


@pytest.mark.parametrize("verb", ["release", "discard"])
def test_entries_that_fit_are_released_or_discarded(call: Call, way: Way, mill: Mill, verb: str) -> None:
    (mill.folder / "wrong.json").write_text('{"ref": 3}')
    post = ("send", "github", "push", "--data", "wrong.json", "--to", mill.public, "--json")
    events = {call(*post).json()["answer"]["id"] for _ in range(2)}
    where = ("--where", "source=github", "--where", "type=github.push", "--where", "reason=schema")
    listed = call(*way, "quarantine", "list", "--source", "github", "--reason", "schema", "--json").json()
    assert events <= {row["id"] for row in listed}
    assert (
        call(*way, "quarantine", "list", "--reason", "not_json", "--text", "nothing").out == "no entry fits\n"
    )
    assert "entries fit source=github" in call(*way, "quarantine", verb, *where, "--dry-run").out
    done = call(*way, "quarantine", verb, *where, "--yes", "--json").json()
    assert (done["what"], done["action"], done["refused"]) == ("quarantine", verb, 0)
    assert done["done"] >= 2
    for event in events:
        assert call(*way, "quarantine", "show", event).code == 1
        assert call(*way, "events", "show", event).code == (0 if verb == "release" else 1)


def test_one_entry_is_discarded(call: Call, way: Way, mill: Mill) -> None:
    (mill.folder / "wrong.json").write_text('{"ref": 3}')
    event = call("send", "github", "push", "--data", "wrong.json", "--to", mill.public, "--json").json()
    name = event["answer"]["id"]
    assert call(*way, "quarantine", "discard", name, "--json").json()["event"] == name
    assert call(*way, "quarantine", "discard", name).code == 1
    (change, *_) = call(*way, "audit", "list", "--action", "quarantine.discard", "--json").json()
    assert change["target"] == name


@pytest.mark.parametrize(
    "words",
    [
        ("dead", "retry", "--where", "error"),
        ("dead", "retry", "--where", "status=failed"),
        ("dead", "retry", "run_x", "--where", "task=mend"),
        ("dead", "retry", "--all", "--where", "task=mend"),
        ("dead", "list", "--since", "soon"),
        ("quarantine", "release"),
        ("quarantine", "release", "x", "--yes"),
        ("quarantine", "discard", "x", "--reason", "old"),
        ("quarantine", "discard", "--where", "source="),
        ("quarantine", "list", "--type", "a..b"),
    ],
)
def test_what_isnt_clear_is_refused(call: Call, way: Way, words: tuple[str, ...]) -> None:
    refused = call(*way, *words)
    assert (refused.code, "error:" in refused.err) == (1, True)
