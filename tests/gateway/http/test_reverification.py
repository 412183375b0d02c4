"""Refused requests that a source keeps, and what becomes of them when its secret is mended."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from conftest import BrokerProcess, House

    from tidemill.kernel.subjects import Names

BODY = b'{"zen": "Keep it logically awesome."}'
WRONG, RIGHT = "the wrong one", "the right one"
RECIPE = json.dumps(
    {
        "verify": {
            "signature": {"at": "header:X-Sig"},
            "timestamp": {"at": "header:X-Time", "unit": "s", "tolerance_past": 60, "tolerance_future": 60},
            "signed": "{timestamp}.{body}",
        },
        "event": {"id": "{header:X-Id}"},
    }
)
NAMELESS = json.dumps({"verify": {"signature": {"at": "header:X-Sig"}}})


def kept(secret: str, bounds: str = "true", recipe: str = RECIPE) -> str:
    return f"recipe = '{recipe}'\nsecrets = ['{secret}']\nkeep_refused = {bounds}\n"


def signed(body: bytes, moment: float, **headers: str) -> dict[str, str]:
    stamp = str(int(moment))
    signature = hmac.digest(RIGHT.encode(), stamp.encode() + b"." + body, "sha256").hex()
    return {"content-type": "application/json", "x-sig": signature, "x-time": stamp, **headers}


async def post(house: House, body: bytes, headers: dict[str, str], source: str = "shop") -> str:
    url = f"http://{house.public}/webhooks/{source}"
    answer = await house.client.post(url, content=body, headers=headers)
    return str(answer.json().get("status") if answer.is_success else answer.json()["check"])


async def again(house: House, **wanted: Any) -> list[dict[str, Any]]:
    answer = await house.ask("deliveries/reverify", wanted)
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    rows: list[dict[str, Any]] = answer.json()["reverified"]
    return rows


@pytest.fixture
def opened(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> Callable[..., Any]:
    def open_with(*shops: str, keys: tuple[str, ...] = (), **sources: str) -> Any:
        sections = {f"sources.{name}": text for name, text in sources.items()}
        if keys:
            sections["gateway"] = f"secret_key = {json.dumps(keys)}\n"
        if shops:
            sections["sources.shop"] = shops[0]
        return housed(settled(broker.url, names, **sections))

    return open_with


@pytest.mark.integration
async def test_what_was_genuine_goes_in_after_a_restart_with_the_right_secret_and_only_once(
    opened: Callable[..., Any],
) -> None:
    moment = time.time()
    async with opened(kept(WRONG)) as house:
        assert await post(house, BODY, signed(BODY, moment, **{"x-id": "one"})) == "signature_mismatch"
        assert await post(house, BODY, signed(BODY, moment, **{"x-id": "two"})) == "signature_mismatch"
        forged = {**signed(BODY, moment, **{"x-id": "three"}), "x-sig": "00" * 32}
        assert await post(house, BODY, forged) == "signature_mismatch"
        assert {row["verdict"] for row in await again(house)} == {"refused"}
    async with opened(kept(RIGHT)) as house:
        assert await post(house, BODY, signed(BODY, time.time(), **{"x-id": "two"})) == "accepted"
        dry = await again(house, dry_run=True)
        assert [row["verdict"] for row in dry] == ["genuine", "genuine", "refused"]
        first, second, third = await again(house, source="shop")
        assert (first["verdict"], first["events"][0]["id"]) == ("accepted", "one")
        assert (second["verdict"], second["events"][0]["id"]) == ("duplicate", "two")
        assert (third["verdict"], third["reason"]) == ("refused", "signature_mismatch")
        assert [row["id"] for row in await again(house)] == [third["id"]]
        events = (await house.ask("events?source=shop")).json()["events"]
        assert sorted(event["id"] for event in events) == ["one", "two"]
        async with asyncio.timeout(10):
            while not (found := [row for row in await log(house) if "reverified" in row]):  # noqa: ASYNC110 - the API tells nobody
                await asyncio.sleep(0.02)
        assert {row["reverified"] for row in found} <= {first["id"], second["id"]}
        refused = [row for row in await log(house) if row["verdict"] == "refused"]
        assert first["id"] in {row.get("kept") for row in refused}


@pytest.mark.integration
async def test_single_requests_are_verified_by_either_name(opened: Callable[..., Any]) -> None:
    moment = time.time()
    async with opened(kept(WRONG)) as house:
        for name in ("one", "two"):
            await post(house, BODY, signed(BODY, moment, **{"x-id": name}))
        async with asyncio.timeout(10):
            while len(refused := [row for row in await log(house) if "kept" in row]) < 2:  # noqa: ASYNC110 - the API tells nobody
                await asyncio.sleep(0.02)
        second, first = refused
        path = f"deliveries/{first['id']}/reverify"
        assert (await house.ask(path, {})).json()["verdict"] == "refused"
    async with opened(kept(RIGHT)) as house:
        dry = (await house.ask(path, {"dry_run": True})).json()
        assert (dry["id"], dry["verdict"]) == (first["kept"], "genuine")
        row = (await house.ask(path, {})).json()
        assert (row["verdict"], [event["id"] for event in row["events"]]) == ("accepted", ["one"])
        gone = await house.ask(path, {})
        assert (gone.status_code, "isn't kept any more" in gone.json()["detail"]) == (404, True)
        assert len(await again(house, dry_run=True)) == 1, "the other one was looked at"
        by_name = await house.ask(f"deliveries/{second['kept']}/reverify", {})
        assert [event["id"] for event in by_name.json()["events"]] == ["two"]
        assert await again(house) == []
        async with asyncio.timeout(10):
            while not (taken := [row for row in await log(house) if row["verdict"] == "accepted"]):  # noqa: ASYNC110 - the API tells nobody
                await asyncio.sleep(0.02)
        never = await house.ask(f"deliveries/{taken[0]['id']}/reverify", {})
        assert (never.status_code, "never kept" in never.json()["detail"]) == (409, True)
        for wrong in ("0" * 16, "r9-9", "nonsense"):
            assert (await house.ask(f"deliveries/{wrong}/reverify", {})).status_code == 404
        for order in ({"dry_run": 1}, {"source": "shop"}):
            assert (await house.ask(path, order)).status_code == 422
        changes = (await house.ask("audit?action=deliveries.reverify")).json()["audit"]
        assert {first["id"], second["kept"], "nonsense"} <= {one["target"] for one in changes}
        assert {"verdict": "accepted"} in [one["detail"] for one in changes]
    async with opened(f"recipe = '{RECIPE}'\nsecrets = ['{RIGHT}']\n") as house:
        assert (await house.ask(path, {})).status_code == 404


async def log(house: House) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await house.ask("deliveries?source=shop")).json()["deliveries"]
    return rows


@pytest.mark.integration
async def test_time_stands_still_what_was_stale_when_it_came_stays_out(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = time.time()
    async with opened(kept(WRONG)) as house:
        assert await post(house, BODY, signed(BODY, moment - 3600, **{"x-id": "old"})) == "signature_mismatch"
        assert await post(house, BODY, signed(BODY, moment, **{"x-id": "new"})) == "signature_mismatch"
    async with opened(kept(RIGHT)) as house:
        assert await post(house, BODY, signed(BODY, moment - 3600, **{"x-id": "x"})) == "timestamp_stale"
        monkeypatch.setattr(time, "time", lambda: moment + 3000)
        old, new = await again(house)
        assert (old["verdict"], old["reason"]) == ("refused", "timestamp_stale")
        assert (new["verdict"], new["events"][0]["id"]) == ("accepted", "new")


@pytest.mark.integration
async def test_a_source_keeps_nothing_by_default_and_nothing_that_a_secret_cannot_mend(
    opened: Callable[..., Any],
) -> None:
    recipe = f"recipe = '{RECIPE}'\nsecrets = ['{WRONG}']\n"
    async with opened(kept(WRONG), other=recipe) as house:
        await post(house, BODY, signed(BODY, time.time()), "other")
        await post(house, BODY, {"content-type": "application/json"})
        await post(house, BODY, {**signed(BODY, 0), "content-type": "image/png"})
        assert await again(house) == []
        assert (await house.ask("deliveries/reverify", {"source": "other"})).status_code == 404


@pytest.mark.integration
async def test_a_flood_stays_within_its_source_and_pushes_out_nothing_of_another(
    opened: Callable[..., Any],
) -> None:
    small = '{ max_age = "10m", max_bytes = "64KiB" }'
    sources = {"shop": kept(WRONG, small), "other": kept(WRONG, small)}
    async with opened(**sources) as house:
        await post(house, BODY, signed(BODY, time.time(), **{"x-id": "quiet"}), "other")
        for number in range(30):
            body = json.dumps({"number": number, "filling": "x" * 6000}).encode()
            await post(house, body, signed(body, time.time(), **{"x-id": str(number)}))
        large = json.dumps("x" * 20_000).encode()
        await post(house, large, signed(large, time.time(), **{"x-id": "large"}))
        rows = await again(house, dry_run=True)
        flood = [row for row in rows if row["source"] == "shop"]
        assert 4 <= len(flood) <= 10
        assert all(row["size"] < 20_000 for row in flood)
        assert len([row for row in rows if row["source"] == "other"]) == 1
        stream = house.broker.names.stream("KEPT_shop")
        info = await house.broker.bus.api(f"STREAM.INFO.{stream}")
        assert info["state"]["bytes"] <= 64 * 1024


@pytest.mark.integration
async def test_a_large_one_comes_back_byte_by_byte_and_pages_go_on(opened: Callable[..., Any]) -> None:
    body = json.dumps({"filling": "x" * 1_600_000}).encode()
    more = "max_body = '4MiB'\n"
    async with opened(kept(WRONG) + more) as house:
        await post(house, body, signed(body, time.time(), **{"x-id": "large"}))
        for number in range(6):
            await post(house, BODY, signed(BODY, time.time(), **{"x-id": str(number)}))
    async with opened(kept(RIGHT) + more) as house:
        rows, after = [], None
        for _ in range(5):
            page = (await house.ask("deliveries/reverify", {"limit": 3, "after": after})).json()
            rows += page["reverified"]
            after = page["next"]
            if after is None:
                break
        assert [row["verdict"] for row in rows] == ["accepted"] * 7
        assert (await house.ask("events/large?raw=1")).content == body
        assert await again(house) == []


FIRST, SECOND = "1" * 64, "2" * 64


@pytest.mark.integration
async def test_with_a_secret_key_nothing_of_a_kept_request_can_be_read_on_the_broker(
    opened: Callable[..., Any],
) -> None:
    body = json.dumps({"tell": "nobody", "filling": "x" * 1_200_000}).encode()
    more = "max_body = '4MiB'\n"
    async with opened(kept(WRONG) + more, keys=(FIRST,)) as house:
        await post(house, body, signed(body, time.time(), **{"x-id": "one", "x-token": "hush-hush"}))
        names = house.broker.names
        raw = await raw_of(house, names.stream("KEPT_shop"))
        assert len(raw) == 3
        assert not any(word in part for part in raw for word in (b"hush-hush", b"nobody", b"x-sig", b"xxxx"))
    async with opened(kept(RIGHT) + more, keys=(SECOND, FIRST)) as house:
        assert [row["verdict"] for row in await again(house)] == ["accepted"]
        assert (await house.ask("events/one?raw=1")).content == body


@pytest.mark.integration
async def test_what_was_kept_before_there_was_a_key_is_read_and_a_lost_key_is_named(
    opened: Callable[..., Any],
) -> None:
    async with opened(kept(WRONG)) as house:
        await post(house, BODY, signed(BODY, time.time(), **{"x-id": "plain"}))
        assert b"logically awesome" in b"".join(await raw_of(house, house.broker.names.stream("KEPT_shop")))
    async with opened(kept(WRONG), keys=(FIRST,)) as house:
        await post(house, BODY, signed(BODY, time.time(), **{"x-id": "sealed"}))
    async with opened(kept(RIGHT), keys=(SECOND,)) as house:
        plain, sealed = await again(house)
        assert (plain["verdict"], plain["events"][0]["id"]) == ("accepted", "plain")
        assert sealed["verdict"] == "unavailable"
        assert "which isn't here" in sealed["detail"]
    async with opened(kept(RIGHT), keys=(FIRST,)) as house:
        (row,) = await again(house)
        assert (row["verdict"], row["events"][0]["id"]) == ("accepted", "sealed")


async def raw_of(house: House, stream: str) -> list[bytes]:
    """Return all messages of a stream as they stand on the broker's disk."""
    info = await house.broker.bus.api(f"STREAM.INFO.{stream}")
    found = []
    for seq in range(info["state"]["first_seq"], info["state"]["last_seq"] + 1):
        message = (await house.broker.bus.api(f"STREAM.MSG.GET.{stream}", {"seq": seq}))["message"]
        found.append(base64.b64decode(message.get("data", "")))
    return found


@pytest.mark.integration
async def test_what_nothing_tells_apart_is_one_event_however_often_it_is_let_in(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = {
        "x-sig": hmac.digest(RIGHT.encode(), BODY, "sha256").hex(),
        "content-type": "application/json",
    }
    async with opened(kept(WRONG, recipe=NAMELESS)) as house:
        for _ in range(2):
            assert await post(house, BODY, signature) == "signature_mismatch"
    async with opened(kept(RIGHT, recipe=NAMELESS)) as house:

        async def stays(*_: Any) -> None:
            """Stands for a gateway that dies before it takes out what it has stored."""

        with monkeypatch.context() as patch:
            patch.setattr("tidemill.kernel.services.kept.KeptRequests.remove", stays)
            assert [row["verdict"] for row in await again(house)] == ["accepted", "accepted"]
        assert [row["verdict"] for row in await again(house)] == ["duplicate", "duplicate"]
        assert len((await house.ask("events?source=shop")).json()["events"]) == 2


@pytest.mark.integration
async def test_a_broker_that_is_away_keeps_nothing_and_hinders_nobody(
    own_broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    settings = settled(own_broker.url, names, **{"sources.shop": kept(WRONG)})
    async with housed(settings) as house:
        await post(house, BODY, signed(BODY, time.time(), **{"x-id": "before"}))
        own_broker.kill()
        assert await post(house, BODY, signed(BODY, time.time())) == "signature_mismatch"
        own_broker.start()
        async with asyncio.timeout(20):
            while (await house.ask("deliveries/reverify", {})).status_code != 200:  # noqa: ASYNC110 - the link comes back
                await asyncio.sleep(0.1)
        assert len(await again(house, dry_run=True)) == 1


@pytest.mark.integration
@pytest.mark.parametrize(
    "document",
    [
        {"after": "x"},
        {"after": 7},
        {"limit": 0},
        {"limit": 1.5},
        {"limit": "5"},
        {"limit": 1e300},
        {"limit": True},
        {"dry_run": "yes"},
        {"sauce": "shop"},
    ],
)
async def test_what_cannot_be_asked_for_is_said(house: House, document: dict[str, Any]) -> None:
    assert (await house.ask("deliveries/reverify", document)).status_code == 422


@pytest.mark.integration
async def test_a_whole_number_may_be_written_with_a_point(house: House) -> None:
    assert (await house.ask("deliveries/reverify", {"limit": 5.0})).status_code == 200


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ('keep_refused = { max_age = "2d" }', "could go in twice"),
        ('duplicate_window = "10m"\nkeep_refused = true', "could go in twice"),
        ("keep_refused = { max_bytes = 1 }", "max_bytes"),
        ("keep_refused = { size = 1 }", "max_bytes|no setting"),
    ],
)
def test_bounds_that_cannot_be_are_said_at_the_start(tmp_path: Path, keys: str, complaint: str) -> None:
    (tmp_path / "tidemill.toml").write_text(f"[sources.shop]\npreset = 'github'\nsecrets = ['k']\n{keys}\n")
    with pytest.raises(SettingsError, match=complaint):
        Settings.load(tmp_path / "tidemill.toml", {})


@pytest.mark.parametrize(
    ("written", "age"), [("true", 3600.0), ("false", None), ('{ max_age = "5m" }', 300.0)]
)
def test_true_keeps_the_defaults(tmp_path: Path, written: str, age: float | None) -> None:
    text = f"[sources.shop]\npreset = 'github'\nsecrets = ['k']\nkeep_refused = {written}\n"
    (tmp_path / "tidemill.toml").write_text(text)
    keeping = Settings.load(tmp_path / "tidemill.toml", {}).sources["shop"].keep_refused
    assert (None if keeping is None else keeping.max_age) == age
