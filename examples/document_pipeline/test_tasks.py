"""Tests of the pipeline: the HTTP services are mocked, the runs are played in memory on a clock that jumps.

Run them with `python -m pytest`.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import respx
from tasks import LIBRARY, MODEL, Digest, Document, DocumentEvent, ask, digest, split

from tidemill import Abort, RetryAfter, testing

TEXT = "# Tides\n\n## Spring\n\nHigh.\n\n## Neap\n\nLow.\n\n## Slack\n\nStill.\n"
ADDED = DocumentEvent(data=Document(id="tides", url=f"{LIBRARY}/documents/tides"))


class Model:
    """A model that fails as such services do: overloaded, rate-limited, and picky about one section."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        prompt: str = json.loads(request.content)["prompt"]
        text = prompt.rpartition("\n\n")[2]
        self.asked[text] += 1
        if text == "Still.":
            return httpx.Response(400, text="content policy")
        if self.asked[text] == 1:
            return httpx.Response(503)
        if self.asked[text] == 2:
            return httpx.Response(429, headers={"Retry-After": "3600"})
        return httpx.Response(200, json={"text": f"It is {text.lower()}"})


@pytest.fixture
def services() -> Iterator[respx.Router]:
    with respx.mock(assert_all_called=False) as router:
        router.get(ADDED.data.url).respond(text=TEXT)
        router.put(f"{LIBRARY}/documents/tides/digest", name="file").respond(204)
        yield router


def test_a_flaky_model_costs_time_and_nothing_is_fetched_or_paid_for_twice(services: respx.Router) -> None:
    model = Model()
    services.post(f"{MODEL}/complete").mock(side_effect=model)

    async def scenario() -> Digest:
        async with testing.play(digest) as stage:
            begun = stage.now()
            run = await stage.start(digest, ADDED)
            result: Digest = await run.result()
            assert (stage.now() - begun).total_seconds() >= 3600
            assert stage.executed(run.id) == {"fetch": 1, "file": 1}
        return result

    assert asyncio.run(scenario()) == Digest(
        summaries={"Spring": "It is high.", "Neap": "It is low."}, missing=["Slack"]
    )
    assert model.asked == {"High.": 3, "Low.": 3, "Still.": 1}
    assert json.loads(services["file"].calls.last.request.content)["missing"] == ["Slack"]


def test_wherever_a_process_dies_the_same_digest_is_filed(services: respx.Router) -> None:
    services.post(f"{MODEL}/complete").respond(json={"text": "Water."})
    found = asyncio.run(testing.crash_everywhere(digest, ADDED))
    assert found.outcome.state == "completed"
    assert found.executed == {"fetch": 1, "file": 1, "summarise: ask": 3}
    keys = {call.request.headers["Idempotency-Key"] for call in services["file"].calls}
    assert len(keys) == 1


def test_a_rate_limit_says_when_to_come_back(services: respx.Router) -> None:
    services.post(f"{MODEL}/complete").respond(429, headers={"Retry-After": "90"})
    with pytest.raises(RetryAfter) as caught:
        asyncio.run(ask("?"))
    assert caught.value.delay == 90


def test_what_the_model_refuses_is_given_up_on(services: respx.Router) -> None:
    services.post(f"{MODEL}/complete").respond(400, text="content policy")
    with pytest.raises(Abort, match="400 content policy"):
        asyncio.run(ask("?"))


def test_sections_begin_with_headings() -> None:
    assert [section.title for section in split(TEXT)] == ["Spring", "Neap", "Slack"]
    assert split("no heading") == []
