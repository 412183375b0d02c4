"""A harbour office's agent: a model that may use tools, and may spend so many tokens on a question.

Serve it with `tidemill dev tasks.py`.
"""

from __future__ import annotations

import os
from typing import Literal

import httpx
from pydantic import BaseModel

from tidemill import Abort, Context, Retry, Step, task

MODEL = os.environ.get("MODEL_URL", "http://127.0.0.1:9999/v1")
HARBOUR = os.environ.get("HARBOUR_URL", "http://127.0.0.1:9996")

THINK = Step("think", retry=Retry(max_attempts=8, max_delay="2m"), timeout="2m")
TOOL_RETRY = Retry(max_attempts=3)


class Question(BaseModel):
    """What somebody asks, and how many tokens the answer may cost."""

    text: str
    budget: int = 20_000


class ToolCall(BaseModel):
    """What the model wants to have done."""

    id: str
    tool: Literal["tides", "book_berth"]
    arguments: dict[str, str]


class Message(BaseModel):
    """One turn of the conversation."""

    role: Literal["user", "assistant", "tool"]
    text: str
    calls: list[ToolCall] = []


class Reply(BaseModel):
    """What the model says, and what it has cost."""

    message: Message
    tokens: int


class Answer(BaseModel):
    """What the agent has found out; `complete` is false where its budget was used up before."""

    text: str
    tokens: int
    complete: bool


@task(max_duration="1h")
async def agent(question: Question, ctx: Context) -> Answer:
    """Let the model think and use tools by turns. A crash costs the turn at hand, not those before it."""
    conversation = [Message(role="user", text=question.text)]
    spent = 0
    while spent < question.budget:
        reply = await ctx.step(THINK, think, conversation, question.budget - spent)
        spent += reply.tokens
        conversation.append(reply.message)
        if not reply.message.calls:
            return Answer(text=reply.message.text, tokens=spent, complete=True)
        conversation += await ctx.gather(*(use(call, ctx) for call in reply.message.calls))
    return Answer(text=conversation[-1].text, tokens=spent, complete=False)


async def use(call: ToolCall, ctx: Context) -> Message:
    """Use a tool once; the model is told of its failure, and may try something else."""
    step = Step(f"tool {call.tool}", retry=TOOL_RETRY, timeout="30s")
    try:
        text = await ctx.step(step, harbour, call, ctx.idempotency_key(call.id))
    except Exception as error:  # noqa: BLE001 - whatever went wrong is the model's to deal with
        ctx.log.warning("%s failed: %s", call.tool, error)
        text = f"failed: {error}"
    return Message(role="tool", text=f"{call.id}: {text}")


async def think(conversation: list[Message], budget: int) -> Reply:
    """Have the model continue a conversation, with `budget` tokens at most."""
    turns = [message.model_dump() for message in conversation]
    async with httpx.AsyncClient(timeout=None) as client:  # noqa: S113 - the step bounds it
        answer = await client.post(f"{MODEL}/chat", json={"messages": turns, "max_tokens": budget})
    if answer.status_code == httpx.codes.BAD_REQUEST:
        raise Abort(f"the model refuses: {answer.text[:200]}")
    return Reply.model_validate(answer.raise_for_status().json())


async def harbour(call: ToolCall, key: str) -> str:
    """Ask the harbour office; the key keeps a berth from being booked twice."""
    async with httpx.AsyncClient(base_url=HARBOUR) as client:
        if call.tool == "tides":
            answer = await client.get("/tides", params=call.arguments)
        else:
            answer = await client.post("/berths", json=call.arguments, headers={"Idempotency-Key": key})
    return answer.raise_for_status().text
