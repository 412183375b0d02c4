"""Pages of sources, schemas, single deliveries and changes, with their counterparts in the API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.dashboard.test_trial import SOURCES, send
from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from tests.conftest import BrokerProcess
    from tests.gateway.dashboard.conftest import Desk
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
HOSTILE = "<script>alert(1)</script>"
SECRET = "a secret that nobody may see"


@pytest.fixture
async def office(
    broker: BrokerProcess,
    names: Names,
    settled: Callable[..., Settings],
    desk_of: Callable[..., Any],
    tmp_path: Path,
) -> AsyncIterator[Desk]:
    (tmp_path / "secret").write_text(SECRET)
    filed = f'preset = "stripe"\nkeep_refused = true\nsecrets = ["file:{tmp_path}/secret"]\n'
    more = f"{SOURCES}\n[sources.filed]\n{filed}"
    async with desk_of(settled(broker.url, names, more=more), "router", "mailman", "history") as desk:
        yield desk


async def test_sources_tell_how_they_fare_and_never_their_secrets(office: Desk) -> None:
    await office.follow("/test/send", **send())
    await office.send("/test/send", **send(tamper="on"))
    page = await office.when("/sources/box", ">accepted</span>", ">refused</span>")
    assert "<dt>Accepted</dt>" in await office.when("/sources/box", "<dt>Refused</dt>")
    assert "one of them" not in page
    assert all(
        text in page for text in ("/webhooks/box", "the settings", "What is verified", "X-Hub-Signature")
    )
    listed = await office.when("/sources", "1 accepted", "1 refused")
    assert all(f"/sources/{name}" in listed for name in ("box", "slack", "shop", "filed"))
    filed = await office.page("/sources/filed")
    assert (SECRET in filed, "secret</code>" in filed, " ago)" in filed) == (False, True, True)
    sources = (await office.client.get("/api/v1/sources")).json()["sources"]
    assert [one["name"] for one in sources] == ["box", "filed", "keyless", "shop", "slack"]
    box = (await office.client.get("/api/v1/sources/box")).json()
    assert (box["secrets"][0]["value"], box["secrets"][0]["state"]) == ("***", "active")
    assert box["last_24_hours"] == {"accepted": 1, "refused": 1}
    assert {row["verdict"] for row in box["newest"]} == {"accepted", "refused"}
    whole = str(sources) + str(box) + (await office.client.get("/api/v1/sources/filed")).text
    assert SECRET not in whole
    assert "one of them" not in whole


async def test_schemas_are_shown_with_versions_samples_and_drift(office: Desk) -> None:
    listed = await office.page("/schemas")
    assert "/schemas/github/push" in listed
    page = await office.page("/schemas/github/push")
    assert all(
        text in page for text in ("tidemill:schemas/github/push/1", "$schema", "<summary>push</summary>")
    )
    assert "Nothing differs" in page
    await office.follow("/test/send", **send(type="issues.opened"))
    held = await office.when("/sources/box", "fitted")
    assert "types have one" in held
    shown = (await office.client.get("/api/v1/schemas/github/push")).json()
    assert (shown["version"], shown["drift"], list(shown["samples"])) == (1, [], ["push"])
    rows = (await office.client.get("/api/v1/schemas?source=slack")).json()["schemas"]
    assert {row["source"] for row in rows} == {"slack"}
    assert all(row["holds"] == ["slack"] for row in rows)


async def test_drift_is_shown_by_type(office: Desk) -> None:
    finding = {"kind": "new_field", "path": "$.x", "events": 3, "example": HOSTILE}
    report = {"source": "box", "type": "push", "findings": [finding]}
    office.gateway._recorder.drift("box", report)
    page = await office.when("/schemas/github/push", "new field")
    assert "&lt;script&gt;" in page
    await office.when("/schemas", "box.push", "new field")
    (row,) = (await office.client.get("/api/v1/schemas/github/push")).json()["drift"]
    assert (row["kind"], row["path"], row["events"]) == ("new_field", "$.x", 3)
    assert "Nothing differs" in await office.page("/schemas/github/issues")


async def test_a_delivery_leads_from_the_request_to_its_runs(office: Desk) -> None:
    await office.follow("/test/send", **send(document='{"zen": "a"}', type="custom"))
    await office.send("/test/send", **send(tamper="on"))
    await office.send("/test/send", **send(type="pull_request", document='{"action":"opened","number":"x"}'))
    listed = await office.when("/deliveries", "accepted", "refused</span>", "quarantined</span>")
    paths = dict.fromkeys(re.findall(r'href="(/deliveries/[dr]\d+-\d+)"', listed))
    pages = {path: await office.when(path, "What the log says") for path in paths}
    taken = next(path for path, page in pages.items() if ">accepted</span>" in page)
    page = await office.when(taken, "opened</a>", "zen")
    assert all(text in page for text in ("Replay</button>", "&#34;x-hub-signature-256&#34;: &#34;***&#34;"))
    refused = next(page for page in pages.values() if ">refused</span>" in page)
    assert all(text in refused for text in ("signature", "It brought none", "/webhooks/box", "401"))
    assert "Replay</button>" not in refused
    held = next(page for page in pages.values() if ">quarantined</span>" in page)
    assert ("in quarantine" in held, "Replay</button>" in held) == (True, False)
    new = await office.follow(f"{taken}/replay")
    assert new.startswith("/events/")
    await office.when("/events", new)
    held_path = next(path for path, page in pages.items() if page is held)
    assert (await office.send(f"{held_path}/replay")).status_code == 409


async def test_kept_requests_are_verified_again(office: Desk) -> None:
    await office.send("/test/send", source="filed", type="invoice.paid", tamper="on")
    page = await office.when("/deliveries?source=filed", "refused</span>")
    path = re.findall(r'href="(/deliveries/r\d+-\d+)"', page)[0]
    shown = await office.page(path)
    assert ("Verify kept requests" in shown, "Verify it again</button>" in shown) == (True, True)
    assert await office.follow(f"{path}/reverify") == f"{path}?said=refused"
    assert "It is refused again" in await office.page(f"{path}?said=refused")
    assert "It is refused again" not in await office.page(f"{path}?said=nonsense")
    assert await office.follow("/sources/filed/reverify") == "/sources/filed?reverified=0"
    assert "0 of the kept requests" in await office.page("/sources/filed?reverified=0")
    assert (await office.send("/sources/box/reverify")).status_code == 404


async def test_addresses_that_lead_nowhere(office: Desk) -> None:
    for path, status in (
        ("/sources/nonsense", 404),
        ("/sources/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 404),
        ("/sources/box?reverified=%3Cscript%3E", 200),
        ("/schemas/github/nonsense", 404),
        ("/schemas/x/y/z", 404),
        ("/schemas/github/push?version=7", 404),
        ("/schemas/github/push?version=x", 422),
        ("/schemas?source=nonsense", 200),
        ("/deliveries/nonsense", 404),
        ("/deliveries/d999999-1", 404),
        ("/deliveries/r1-999999", 404),
        ("/audit?before=x", 422),
        (f"/audit?who={'x' * 501}", 422),
        ("/audit?who=%00&action=%3Cscript%3Ealert(1)%3C/script%3E", 200),
    ):
        await office.page(path, status)
    for path in ("sources/nonsense", "schemas/a/b", "schemas/github/push?version=3"):
        assert (await office.client.get(f"/api/v1/{path}")).status_code == 404


async def test_changes_are_listed_for_administrators_alone(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], desk_of: Callable[..., Any]
) -> None:
    keys = {role: create_key() for role in ("viewer", "operator", "admin")}
    listed = ", ".join(f'{{ name = "{n}", hash = "{hash_key(k)}", role = "{n}" }}' for n, k in keys.items())
    settings = settled(broker.url, names, control=f"keys = [{listed}]\n", more=SOURCES)
    async with desk_of(settings, "history") as desk:
        desk.headers["authorization"] = f"Bearer {keys['operator']}"
        await desk.follow("/test/send", **send())
        await desk.page("/audit", 403)
        assert 'href="/audit"' not in await desk.page("/sources")
        desk.headers["authorization"] = f"Bearer {keys['viewer']}"
        page = await desk.when("/deliveries", "/deliveries/d")
        path = re.findall(r'href="(/deliveries/d\d+-\d+)"', page)[0]
        assert "<button" not in (await desk.page(path)).partition("<main")[2]
        for form in (f"{path}/replay", f"{path}/reverify", "/sources/box/reverify"):
            assert (await desk.send(form)).status_code == 403
        desk.headers["authorization"] = f"Bearer {keys['admin']}"
        shown = await desk.page("/audit")
        assert all(text in shown for text in ("test.send", ">operator ", "done", 'href="/audit"'))
        assert "test.send" in await desk.page("/audit?action=test&who=operator")
        assert "No change fits" in await desk.page("/audit?who=nobody")
