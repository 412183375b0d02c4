"""One-click links on the public listener: a look changes nothing, only the form's POST answers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.gateway.http.crew import engine
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.services import registry
from tidemill.kernel.services.learned import LearnedSecrets
from tidemill.kernel.services.link_key import Links, make_key
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.services.vault import Vault
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.subjects import new_run

if TYPE_CHECKING:
    from conftest import BrokerProcess, House

    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
NASTY = '<script>alert("x")</script>&\'"'


class Desk:
    """A house with a public address, a run that waits, and links to its tokens."""

    def __init__(self, house: House, run: str) -> None:
        self.house = house
        self.run = run

    async def ask_people(self, name: str = "ship", **facts: Any) -> None:
        entry = {"kind": "approval", "task": "deploy", "name": name, "approvers": [], "quorum": 1}
        until = facts.pop("until", time.time() + 60)
        entry |= {"schema": {"type": "null"}, "asked_at": time.time(), **facts}
        await self.house.broker.waiting.open(self.run, f"token:{name}", entry, until=until)

    def link(self, name: str = "ship", by: str = "", *, until: float | None = None) -> str:
        url = self.house.broker.links.url(self.run, name, until or time.time() + 60, by)
        assert url.startswith("https://mill.example.com/t/")
        return url.replace("https://mill.example.com", f"http://{self.house.public}")

    async def get(self, url: str) -> httpx.Response:
        return await self.house.client.get(url)

    async def post(self, url: str, **form: str) -> httpx.Response:
        return await self.house.client.post(url, data=form)

    async def answers(self, name: str = "ship") -> list[tuple[str, bool, Any]]:
        state = (await Runs(self.house.broker).get(self.run)).state
        items = state.boxes.get(f"token:{name}", {}).values()
        return [(item.who, item.ok, item.data) for item in items]


@pytest.fixture
async def desk(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> AsyncIterator[Desk]:
    settings = settled(broker.url, names, gateway='public_url = "https://mill.example.com"\n')
    async with housed(settings) as house:
        await registry.publish(house.broker.tasks, TaskDefinition(id="deploy"))
        run = (await house.ask("tasks/deploy/trigger", {})).json()["run_id"]
        async with engine(house, "mailman", settings=settings):
            yield Desk(house, run)
            for stream in (await house.broker.bus.api("STREAM.NAMES", {}))["streams"] or []:
                if f"{names.namespace}_" in stream:
                    with contextlib.suppress(Exception):
                        await house.broker.bus.api(f"STREAM.DELETE.{stream}")


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def inputs(self) -> set[str | None]:
        return {attrs.get("name") for tag, attrs in self.tags if tag in ("input", "textarea")}


async def test_looking_changes_nothing_and_the_form_answers(desk: Desk) -> None:
    await desk.ask_people()
    link = desk.link()
    for method in ("GET", "HEAD"):
        assert (await desk.house.client.request(method, link)).status_code == 200
    assert await desk.answers() == []
    page = Page((await desk.get(link)).text)
    assert page.inputs == {"by", "comment"}
    assert "deploy" in page.words
    done = await desk.post(link, by="ann", answer="yes", comment="fine\r\nindeed")
    assert (done.status_code, "Thank you" in done.text) == (200, True)
    ((who, ok, data),) = await desk.answers()
    assert (who, ok, data["comment"]) == ("ann", True, "fine\nindeed")
    assert "by ann" in (await desk.get(link)).text
    again = await desk.post(link, by="bob", answer="no")
    assert (again.status_code, "was approved by ann" in again.text) == (409, True)


async def test_pages_load_nothing_run_nothing_and_escape_everything(desk: Desk) -> None:
    await desk.ask_people(NASTY, task=NASTY)
    link = desk.link(NASTY)
    answer = await desk.get(link)
    page = Page(answer.text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "base"})
    assert page.words.count(NASTY) == 3  # title, heading, task
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    refused = await desk.post(link, by=NASTY, answer="maybe", comment=NASTY)
    assert refused.status_code == 422
    kept = [attrs["value"] for _, attrs in Page(refused.text).tags if attrs.get("name") == "by"]
    assert kept == [NASTY]
    await desk.post(link, by=NASTY, answer="no", comment=NASTY)
    assert Page((await desk.get(link)).text).words.count(NASTY) == 5  # nothing but text


async def test_a_link_for_one_person_answers_as_that_one(desk: Desk) -> None:
    await desk.ask_people(approvers=["ann", "bob"], quorum=2)
    nobody = await desk.post(desk.link(), by="ann", answer="yes")
    assert (nobody.status_code, "a link of their own" in nobody.text) == (403, True)
    stranger = await desk.post(desk.link(by="eve"), answer="yes")
    assert (stranger.status_code, "isn&#x27;t asked" in stranger.text) == (403, True)
    link = desk.link(by="ann")
    assert "by" not in Page((await desk.get(link)).text).inputs
    assert (await desk.post(link, by="bob", answer="yes")).status_code == 200
    assert [who for who, _, _ in await desk.answers()] == ["ann"]
    assert (await desk.post(link, answer="yes")).status_code == 409  # one person, one word
    assert (await desk.post(desk.link(by="bob"), answer="yes")).status_code == 200


async def test_a_token_takes_data_that_fit(desk: Desk) -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    await desk.ask_people(kind="token", schema=schema)
    link = desk.link()
    assert Page((await desk.get(link)).text).inputs == {"by", "comment", "data.n"}
    refused = await desk.post(link, by="ann", answer="yes", **{"data.n": "x"})
    assert (refused.status_code, "data.n" in refused.text) == (422, True)
    assert (await desk.post(link, by="ann", answer="yes", **{"data.n": "3"})).status_code == 200
    assert (await desk.answers())[0][2]["data"] == {"n": 3}


async def test_what_isnt_signed_here_leads_nowhere(desk: Desk) -> None:
    await desk.ask_people()
    root = f"http://{desk.house.public}/t/"
    foreign = Links(f"http://{desk.house.public}", b"x" * 32).url(desk.run, "ship", time.time() + 60)
    gone = desk.house.broker.links.url(new_run(), "ship", time.time() + 60)
    gone = gone.replace("https://mill.example.com", f"http://{desk.house.public}")
    for url in (foreign, f"{root}nonsense", f"{desk.link()}x", desk.link("other"), gone):
        for answer in (await desk.get(url), await desk.post(url, by="ann", answer="yes")):
            assert (answer.status_code, "leads nowhere" in answer.text) == (404, True)
    ended = desk.link(until=time.time() - 1)
    assert [(await desk.get(ended)).status_code, (await desk.post(ended, by="a")).status_code] == [410, 410]
    assert (await desk.get(root)).status_code == 404
    assert (await desk.house.client.put(desk.link())).status_code == 405
    assert await desk.answers() == []


async def test_a_form_that_can_be_read_in_two_ways_is_refused(desk: Desk) -> None:
    await desk.ask_people()
    link, kind = desk.link(), {"content-type": "application/x-www-form-urlencoded"}
    bodies = (
        b"answer=yes&answer=no&by=a",
        b"by=%ff&answer=yes",
        b"by=a&answer=",
        b"&" * 300 + b"by=a",
        b"\xff",
    )
    for content in bodies:
        refused = await desk.house.client.post(link, content=content, headers=kind)
        assert refused.status_code == 422, content
    as_json = await desk.house.client.post(link, json={"by": "ann", "answer": "yes"})
    assert as_json.status_code == 422
    large = await desk.post(link, by="ann", answer="yes", comment="x" * 300_000)
    assert large.status_code == 413
    assert await desk.answers() == []


async def test_the_key_is_made_once_and_is_no_sources_secret(desk: Desk) -> None:
    secrets = desk.house.broker.secrets
    keys = await asyncio.gather(*(make_key(secrets) for _ in range(4)))
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    learned = LearnedSecrets(secrets, Vault())
    await learned.refresh()
    assert learned.secrets("signing.links") == ()
    assert re.fullmatch(r"\{\}", str(learned._known))
