"""The commands at work on a running mill, straight to its broker and over its control API."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.patience import until_seen
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.services import registry
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.services.learned import LearnedSecrets
from tidemill.kernel.services.vault import Vault
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from conftest import Call, Mill

pytestmark = pytest.mark.integration
Way = tuple[str, ...]


@pytest.fixture
def send(call: Call, mill: Mill) -> Callable[..., str]:
    """Sends a webhook and returns its event's id."""

    def post(*words: str) -> str:
        event: str = call("send", *words, "--to", mill.public, "--json").json()["answer"]["id"]
        return event

    return post


def test_a_signed_webhook_becomes_a_finished_run(call: Call, send: Callable[..., str], way: Way) -> None:
    event = send("github", "push")

    def finished() -> Any:
        runs = call(*way, "events", "show", event, "--json").json()["runs"]
        return [run for run in runs if run["status"] == "completed"]

    (run,) = until_seen(finished)
    assert run["task"] == "announce"
    shown = call(*way, "runs", "show", run["run_id"])
    assert "github.push" in shown.out
    happened = re.findall(r"^ *\d+ +20\S+ \S+ .*?(created|claim|end)\b", shown.out, re.MULTILINE)
    assert happened[0] == "created"
    assert happened[-1] in ("end", "claim")  # a run may be claimed and ended by one record
    text = call(*way, "events", "show", event).out
    assert run["run_id"] in text
    assert "elsewhere filtered: data.ref == 'refs/heads/elsewhere' with 'refs/heads/main'" in text
    listed = call(*way, "events", "list", "--type", "github.*", "--source", "github", "--json").json()
    assert event in [row["id"] for row in listed]
    assert call(*way, "events", "list", "--type", "nothing.at.all").out == "no events\n"
    verdicts = call(*way, "events", "records", "--kind", "verdict").out
    assert event in verdicts


def test_trigger_waits_and_tells_the_result(call: Call, way: Way, mill: Mill) -> None:
    payload = {"ref": "refs/heads/x", "after": "0123456789"}
    (mill.folder / "payload.json").write_text(json.dumps(payload))
    for given in (json.dumps(payload), "@payload.json"):
        result = call(*way, "trigger", "announce", "--payload", given, "--wait", "--json").json()
        assert (result["status"], result["result"]) == ("completed", "0123456")
    assert "0123456" in call(*way, "trigger", "announce", "--payload", "@payload.json", "--wait").out


def test_the_same_key_gives_the_same_run(call: Call, way: Way) -> None:
    words = (*way, "trigger", "doomed", "--payload", "1", "--key", f"key-{len(way)}", "--json")
    assert call(*words).json()["run_id"] == call(*words).json()["run_id"]


def test_a_trigger_that_cant_be_is_explained(call: Call, way: Way) -> None:
    result = call(*way, "trigger", "anounce")
    assert result.code == 1
    assert "did you mean announce?" in result.err
    result = call(*way, "trigger", "announce", "--payload", '{"ref": "main"}')
    assert result.code == 1
    assert '"after" is a required property' in result.err
    result = call(*way, "trigger", "announce", "--payload", "{not json")
    assert result.code == 1
    assert "no JSON" in result.err
    result = call(*way, "trigger", "doomed", "--payload", "1", "--delay", "soon")
    assert result.code == 1
    assert "'soon' is no duration" in result.err


def test_a_delayed_run_is_cancelled(call: Call, way: Way) -> None:
    run = call(
        *way, "trigger", "doomed", "--payload", "1", "--delay", "1h", "--tag", "later", "--json"
    ).json()
    assert run["status"] == "delayed"
    cancelled = call(*way, "runs", "cancel", run["run_id"], "--reason", "no more", "--json").json()
    assert cancelled["answer"] in ("done", "queued")
    row = until_seen(lambda: [r for r in listed(call, way, "cancelled") if r["run_id"] == run["run_id"]])[0]
    assert row["tags"] == ["later"]
    again = call(*way, "runs", "cancel", run["run_id"])
    assert again.code == 1
    assert "can't be cancelled: it is cancelled" in again.err


def listed(call: Call, way: Way, status: str) -> Any:
    return call(*way, "runs", "list", "--status", status, "--json").json()


def test_dead_letters_come_back(call: Call, way: Way, mill: Mill) -> None:
    names = [f"{len(way)}-{number}" for number in range(2)]
    runs = []
    for name in names:
        failed = call(*way, "trigger", "mend", "--payload", json.dumps(name), "--wait", "--json")
        assert failed.code == 1
        runs.append(json.loads(failed.out)["run_id"])
    dead = until_seen(lambda: letters(call, way, runs))
    assert {letter["error"] for letter in dead} == {f"FileNotFoundError: {name}" for name in names}
    shown = call(*way, "dead", "show", runs[0]).out
    assert shown.count(f"FileNotFoundError: {names[0]}") >= 2
    assert "attempt 2" in shown
    for name in names:
        (mill.folder / name).touch()
    answer = call(*way, "dead", "retry", "--all", "--task", "mend", "--json").json()
    assert (answer["state"], answer["refused"], answer["total"] >= len(runs)) == ("done", 0, True)
    until_seen(
        lambda: all(call(*way, "runs", "show", run, "--json").json()["status"] == "completed" for run in runs)
    )
    assert until_seen(lambda: not letters(call, way, runs))
    kinds = [entry["kind"] for entry in call(*way, "runs", "show", runs[0], "--json").json()["timeline"]]
    assert kinds[-3:] == ["reopened", "claim", "end"]


def test_dead_letters_are_listed_page_by_page(call: Call, way: Way) -> None:
    def give_up(number: int) -> str:
        failed = call(*way, "trigger", "doomed", "--payload", str(number), "--wait", "--json")
        run: str = json.loads(failed.out)["run_id"]
        until_seen(lambda: call(*way, "dead", "show", run).code == 0)
        return run

    runs = [give_up(number) for number in range(3)]
    words = (*way, "dead", "list", "--task", "doomed", "--json")
    newest = call(*words, "-n", "3").json()
    assert [row["id"] for row in newest] == runs[::-1]
    assert call(*words, "-n", "1", "--before", str(newest[0]["seq"])).json() == newest[1:2]
    assert call(*words, "--before", "1").json() == []
    assert call(*way, "dead", "list", "--task", "ship").out == "no dead letters\n"


def letters(call: Call, way: Way, runs: list[str]) -> Any:
    rows = call(*way, "dead", "list", "--task", "mend", "--json").json()
    found = [row for row in rows if row["id"] in runs]
    return found if len(found) in (0, len(runs)) else None


def test_dead_retry_wants_to_know_which(call: Call, way: Way) -> None:
    assert call(*way, "dead", "retry").code == 1
    assert call(*way, "dead", "retry", "run_x", "--all").code == 1


def test_what_cant_be_done_doesnt_keep_the_rest_from_it(call: Call, way: Way) -> None:
    failed = json.loads(call(*way, "trigger", "doomed", "--payload", "7", "--wait", "--json").out)["run_id"]
    result = call(*way, "runs", "replay", "run_00000000000000000000000000", failed, "--json")
    assert result.code == 1
    nothing, replayed = json.loads(result.out)
    assert nothing["done"] is False
    assert "there is no run" in nothing["error"]
    assert replayed["answer"]["replayof"] == failed
    new = call(*way, "runs", "show", replayed["answer"]["run_id"], "--json").json()
    assert new["replayof"] == failed
    assert call(*way, "runs", "show", "run_>").code == 1


def test_a_run_is_forked_once_for_each_key(call: Call, way: Way) -> None:
    run = call(*way, "trigger", "ship", "--json").json()["run_id"]
    first = call(*way, "runs", "fork", run, "--key", "k", "--json").json()
    assert (first["forkof"]["run"], first["forkof"]["key"]) == (run, None)
    assert call(*way, "runs", "fork", run, "--key", "k", "--json").json()["run_id"] == first["run_id"]
    assert f"{run} at " in call(*way, "runs", "show", first["run_id"]).out
    assert "forkof" in call(*way, "runs", "fork", run).out
    unknown = call(*way, "runs", "fork", run, "--at", "nothing")
    assert (unknown.code != 0, "nothing that is called" in unknown.err) == (True, True)
    assert call(*way, "runs", "fork", "run_00000000000000000000000000").code == 1


def test_quarantine_tells_why_and_lets_go(call: Call, send: Callable[..., str], way: Way, mill: Mill) -> None:
    (mill.folder / "wrong.json").write_text('{"ref": 3}')
    event = send("github", "push", "--data", "wrong.json")
    rows = call(*way, "quarantine", "list", "--json").json()
    assert event in [row["id"] for row in rows]
    assert "$" in call(*way, "quarantine", "list").out
    shown = call(*way, "quarantine", "show", event)
    assert '{"ref": 3}' in shown.out
    assert "schema" in shown.out
    assert call(*way, "quarantine", "release", event, "--json").json()["event"] == event
    assert call(*way, "quarantine", "show", event).code == 1
    assert call(*way, "events", "show", event, "--json").json()["data"] == {"ref": 3}


def test_what_is_in_quarantine_is_edited_on_its_way_out(
    call: Call, send: Callable[..., str], way: Way, mill: Mill
) -> None:
    (mill.folder / "misfit.json").write_text('{"zen": "odd", "hook_id": "one"}')
    event = send("github", "ping", "--data", "misfit.json")
    edit = ("quarantine", "release", event, "--data", "edit.json")
    (mill.folder / "edit.json").write_text('{"zen": "even"')
    assert call(*way, *edit).code == 2
    (mill.folder / "edit.json").write_text('{"zen": "even", "hook_id": "two"}')
    refused = call(*way, *edit)
    assert refused.code == 2
    assert "at $" in refused.err
    assert call(*way, "quarantine", "release", event, "--force").code == 2
    assert call(*way, *edit, "another").code == 2
    released = call(*way, *edit, "--force", "--json").json()
    assert (released["event"], released["edited"]) == (event, ["$.zen", "$.hook_id"])
    shown = call(*way, "events", "show", event, "--json").json()
    assert shown["data"] == {"zen": "even", "hook_id": "two"}
    assert shown["event"]["extensions"].keys() == {"editedby", "editedat", "schemaproblem"}
    assert call(*way, *edit, "--force").code == 1
    changes = call(*way, "audit", "list", "--target", event, "--json").json()
    assert [one["outcome"] == "done" for one in changes] == [False, True, False]
    assert changes[1]["detail"] == {"edited": "$.zen, $.hook_id", "forced": "yes"}
    assert "even" not in str(changes)


def test_an_event_that_where_cant_judge_is_released_into_a_run(
    call: Call, send: Callable[..., str], way: Way
) -> None:
    event = send("github", "issues.opened")
    until_seen(
        lambda: [row for row in call(*way, "quarantine", "list", "--json").json() if row["id"] == event]
    )
    assert "puzzled" in call(*way, "quarantine", "list").out
    released = call(*way, "quarantine", "release", event, "--json").json()
    assert released["task"] == "puzzled"
    until_seen(lambda: call(*way, "runs", "show", released["run"], "--json").json()["status"] == "completed")


def test_an_event_is_saved_and_replayed(
    call: Call, send: Callable[..., str], way: Way, tmp_path: Path
) -> None:
    event = send("stripe", "invoice.paid")
    file = tmp_path / "invoice.json"
    saved = call(*way, "events", "save", event, str(file), "--json").json()
    assert saved == {"written": str(file), "bytes": len(file.read_bytes())}
    assert json.loads(file.read_bytes())["id"] == event
    assert call(*way, "events", "save", event, "-").out.encode() == file.read_bytes()
    assert call(*way, "events", "save", event, str(file)).code == 1
    assert call(*way, "events", "save", event, str(file), "--force").code == 0
    again = call(*way, "events", "replay", event, "--json").json()
    assert again["replayof"] == event
    assert again["id"] != event
    assert call(*way, "events", "show", "nothing-of-that-name").code == 1


def test_refused_requests_are_on_record(call: Call, mill: Mill, way: Way) -> None:
    assert call("send", "github", "push", "--to", mill.public, "--tamper").code == 1
    refused = (*way, "deliveries", "list", "--verdict", "refused", "--json")
    rows = until_seen(lambda: call(*refused).json()["deliveries"])
    assert rows[0]["reason"] == "signature_mismatch"
    assert "signature_mismatch" in call(*way, "deliveries", "list", "--source", "github").out
    shown = call(*way, "deliveries", "show", rows[0]["id"])
    assert "x-hub-signature-256: ***" in shown.out
    assert call(*way, "deliveries", "replay", rows[0]["id"]).code == 1


def test_a_delivery_is_shown_with_its_body_and_sent_again(call: Call, mill: Mill, way: Way) -> None:
    event = call("send", "github", "push", "--to", mill.public, "--json").json()["answer"]["id"]
    until_seen(lambda: call(*way, "deliveries", "show", event).code == 0)
    row = call(*way, "deliveries", "show", event, "--json").json()
    assert (row["verdict"], row["status"], row["source"]) == ("accepted", 202, "github")
    assert json.loads(row["body"])["ref"]
    assert row["body"] == call(*way, "deliveries", "show", event, "--body").out
    assert event in call(*way, "deliveries", "list", "--source", "github", "--since", "1h").out
    (again,) = call(*way, "deliveries", "replay", row["id"], "--json").json()["replayed"]
    assert again["event"] == event
    assert call(*way, "events", "show", again["as"], "--json").json()["event"]["replayof"] == event


def test_refused_requests_that_are_kept_are_verified_again(call: Call, mill: Mill, way: Way) -> None:
    assert call("send", "stripe", "invoice.paid", "--to", mill.public, "--tamper").code == 1
    rows = call(*way, "deliveries", "reverify", "stripe", "--dry-run", "--json").json()
    assert {(row["source"], row["verdict"], row["reason"]) for row in rows} == {
        ("stripe", "refused", "signature_mismatch")
    }
    assert rows[0]["id"] in call(*way, "deliveries", "reverify").out
    single = call(*way, "deliveries", "reverify", rows[0]["id"], "--dry-run", "--json").json()
    assert (single["id"], single["verdict"]) == (rows[0]["id"], rows[0]["verdict"])
    assert call(*way, "deliveries", "reverify", rows[0]["id"], "stripe").code == 1
    assert call(*way, "deliveries", "reverify", "0" * 16).code == 1
    assert call(*way, "deliveries", "reverify", "github").code == 1


def test_tasks_and_workers_are_listed(call: Call, way: Way) -> None:
    tasks = {row["id"]: row for row in call(*way, "tasks", "list", "--json").json()}
    assert set(tasks) == {"announce", "elsewhere", "puzzled", "mend", "doomed", "ship", "forward.crm"}
    assert tasks["announce"]["on"] == ["github.push"]
    assert "github.push" in call(*way, "tasks", "list").out
    shown = call(*way, "tasks", "show", "announce")
    assert '"after"' in shown.out
    workers = call(*way, "workers", "list", "--json").json()
    worker, forwarder = sorted(workers, key=lambda one: len(one["tasks"]), reverse=True)
    assert set(worker["tasks"]) == set(tasks) - {"forward.crm"}
    assert forwarder["tasks"] == ["forward.crm"], "the engine's, for destinations"
    assert worker["id"] in call(*way, "workers", "list").out


def test_top_shows_queues_workers_and_streams(call: Call, way: Way) -> None:
    pulse = call(*way, "top", "--json").json()
    assert {queue["task"] for queue in pulse["queues"]} >= {"announce", "ship"}
    shown = call(*way, "top", "--once").out
    for word in (pulse["workers"][0]["id"], "announce", "EVENTS", "asleep"):
        assert word in shown


def test_a_task_that_nobody_serves_is_removed(call: Call, way: Way) -> None:
    asyncio.run(publish(TaskDefinition(id="gone", aliases=("long-gone",))))
    assert call(*way, "tasks", "remove", "long-gone", "--json").json() == {"removed": "gone"}
    assert "gone" not in [row["id"] for row in call(*way, "tasks", "list", "--json").json()]
    again = call(*way, "tasks", "remove", "gone")
    assert again.code == 1
    assert "there is no task 'gone'" in again.err


async def publish(definition: TaskDefinition) -> None:
    async with open_broker(Settings.load(None, {}), name="test") as broker:
        await registry.publish(broker.tasks, definition)


def test_the_doctor_is_content(call: Call, way: Way) -> None:
    result = call(*way, "doctor", "--json")
    findings = json.loads(result.out)
    assert [row for row in findings if row["level"] == "problem"] == []
    assert result.code == 0
    assert "control" in {row["subject"] for row in findings}
    assert call(*way, "doctor").code == 0


def test_what_was_learned_is_shown_and_forgotten(call: Call, way: Way, mill: Mill) -> None:
    async def learn() -> None:
        settings = Settings.load(mill.folder / "tidemill.toml")
        async with open_broker(settings, name="test") as broker:
            vault = Vault.of(settings, broker.secrets)
            await LearnedSecrets(broker.secrets, vault).learn("desk", Secret("brought-along"), "203.0.113.9")

    asyncio.run(learn())
    shown = call(*way, "sources", "show", "desk", "--json").json()["learned"]
    assert (shown["secret"], shown["client"]) == ("brought-along", "203.0.113.9")
    assert call(*way, "sources", "forget", "desk", "--json").json() == {"forgotten": "desk"}
    assert call(*way, "sources", "forget", "desk").code == 1
    assert call(*way, "sources", "show", "desk", "--json").json()["learned"] == "nothing yet"


def test_tenants_get_secrets_and_lose_them(
    call: Call, way: Way, mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(*way, "tenants", "list", "stripe", "--json").code == 1
    made = call(*way, "tenants", "add", "desk", "acme", "--json").json()
    assert len(made["secret"]) >= 32
    monkeypatch.setenv("OF_ACME", "given-by-the-provider")
    given = call(*way, "tenants", "rotate", "desk", "acme", "--overlap", "1h", "--secret", "env:OF_ACME")
    assert given.code == 0
    assert "given-by" not in given.out
    shown = call(*way, "tenants", "show", "desk", "acme", "--json").json()
    assert [one["until"] is None for one in shown] == [True, False]
    (listed,) = call(*way, "tenants", "list", "desk", "--json").json()
    assert (listed["tenant"], listed["active"]) == ("acme", 2)
    assert call(*way, "keys", "rewrap", "--json").json()["rewrapped"] == 0
    assert (mill.folder / ".tidemill" / "secret.key").exists()
    naked = call(*way, "tenants", "add", "desk", "acme", "--secret", "the-secret-itself")
    assert (naked.code, "the-secret-itself" in naked.err) == (1, False)
    assert call(*way, "tenants", "revoke", "desk", "acme").code == 1
    assert call(*way, "tenants", "revoke", "desk", "acme", made["id"], "--json").json()["left"] == 1
    assert call(*way, "tenants", "revoke", "desk", "acme", "--all", "--json").json()["left"] == 0
    assert call(*way, "tenants", "show", "desk", "acme").code == 1
