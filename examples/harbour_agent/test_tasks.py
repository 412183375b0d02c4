"""Tests of the agent: the model and the harbour office are mocked, the runs are played in memory.

Run them with `python -m pytest`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest
import respx
from tasks import HARBOUR, MODEL, Answer, Question, agent

from tidemill import testing

QUESTION = Question(text="Can Heron come in tonight, and where to?")
TIDES = {"id": "c1", "tool": "tides", "arguments": {"day": "2026-11-22"}}
BERTH = {"id": "c2", "tool": "book_berth", "arguments": {"ship": "Heron"}}


def says(text: str, *calls: object, tokens: int = 100) -> httpx.Response:
    """Return what the model answers."""
    message = {"role": "assistant", "text": text, "calls": calls}
    return httpx.Response(200, json={"message": message, "tokens": tokens})


def model(request: httpx.Request) -> httpx.Response:
    """Use both tools at once, then answer."""
    turns = len(json.loads(request.content)["messages"])
    return says("", TIDES, BERTH) if turns == 1 else says("At nine, to berth 4.")


@pytest.fixture
def world() -> Iterator[respx.Router]:
    with respx.mock(assert_all_called=False) as router:
        router.post(f"{MODEL}/chat", name="model").mock(side_effect=model)
        router.get(f"{HARBOUR}/tides", name="tides").respond(text="high water at 21:04")
        router.post(f"{HARBOUR}/berths", name="berths").respond(text="berth 4")
        yield router


def play(question: Question) -> Answer:
    """Play one question."""

    async def scenario() -> Answer:
        async with testing.play(agent) as stage:
            answer: Answer = await (await stage.start(agent, question)).result()
            return answer

    return asyncio.run(scenario())


def told(world: respx.Router) -> list[str]:
    """Return what the tools have told the model, as it was asked last."""
    messages = json.loads(world["model"].calls.last.request.content)["messages"]
    return [message["text"] for message in messages if message["role"] == "tool"]


def test_tools_are_used_together_and_the_model_is_told(world: respx.Router) -> None:
    assert play(QUESTION) == Answer(text="At nine, to berth 4.", tokens=200, complete=True)
    assert told(world) == ["c1: high water at 21:04", "c2: berth 4"]


def test_a_model_that_is_overloaded_is_asked_again(world: respx.Router) -> None:
    world["model"].mock(side_effect=[httpx.Response(529), httpx.Response(503), says("No.")])
    assert play(QUESTION) == Answer(text="No.", tokens=100, complete=True)


def test_a_tool_that_fails_is_the_models_problem(world: respx.Router) -> None:
    world["berths"].respond(409, text="all taken")
    assert play(QUESTION).complete
    assert world["berths"].call_count == 3
    assert told(world)[1].startswith("c2: failed: Client error '409 Conflict'")


def test_the_budget_ends_a_model_that_goes_in_circles(world: respx.Router) -> None:
    world["model"].mock(side_effect=lambda _: says("", TIDES, tokens=400))
    answer = play(QUESTION.model_copy(update={"budget": 1000}))
    assert (answer.tokens, answer.complete) == (1200, False)
    asked = [json.loads(call.request.content)["max_tokens"] for call in world["model"].calls]
    assert asked == [1000, 600, 200]


def test_a_crash_pays_for_no_turn_twice(world: respx.Router) -> None:
    async def scenario() -> None:
        async with testing.play(agent) as stage:
            stage.crash_after("think")
            run = await stage.start(agent, QUESTION)
            assert (await run.result()).complete

    asyncio.run(scenario())
    assert world["model"].call_count == 2


def test_wherever_a_process_dies_the_answer_is_the_same(world: respx.Router) -> None:
    found = asyncio.run(testing.crash_everywhere(agent, QUESTION))
    assert json.loads(found.outcome.result)["text"] == "At nine, to berth 4."
    assert sum(found.executed.values()) == 4
    keys = {call.request.headers["Idempotency-Key"] for call in world["berths"].calls}
    assert len(keys) == 1
