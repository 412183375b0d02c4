"""Digest documents: fetch one, split it, have a model summarise every section, and file the digest.

Serve it with `tidemill dev tasks.py`.
"""

from __future__ import annotations

import os
import re

import httpx
from pydantic import BaseModel

from tidemill import Abort, Context, Failed, Retry, RetryAfter, Step, task

MODEL = os.environ.get("MODEL_URL", "http://127.0.0.1:9999/v1")
LIBRARY = os.environ.get("LIBRARY_URL", "http://127.0.0.1:9998")

FETCH = Step("fetch", retry=Retry(max_attempts=5, min_delay="2s"), timeout="30s")
ASK = Step("ask", retry=Retry(max_attempts=8, min_delay="1s", max_delay="2m"), timeout="1m")
FILE = Step("file", retry=Retry(max_attempts=10, max_delay="10m"), timeout="30s")


class Document(BaseModel):
    """A document of the library."""

    id: str
    url: str


class DocumentEvent(BaseModel):
    """The library's event `document.added`."""

    data: Document


class Section(BaseModel):
    """A part of a document that is summarised by itself."""

    title: str
    text: str


class Digest(BaseModel):
    """What the pipeline makes of a document.

    Attributes:
        summaries: one for each section, by its title.
        missing: titles of the sections of which the model made none.
    """

    summaries: dict[str, str]
    missing: list[str]


@task(on="library.document.added", max_duration="1d")
async def digest(event: DocumentEvent, ctx: Context) -> Digest:
    """Fetch, fan out to the sections, collect what came of each, and file it."""
    text = await ctx.step(FETCH, fetch, event.data.url)
    sections = split(text)
    titles = [section.title for section in sections]
    made = Digest(summaries={}, missing=[])
    outcomes = [outcome async for outcome in ctx.map(summarise, sections, limit=20)]
    for title, outcome in zip(titles, outcomes, strict=True):
        if isinstance(outcome, Failed):
            ctx.log.warning("no summary of %r: %s", title, outcome.error)
            made.missing.append(title)
        else:
            made.summaries[title] = outcome.value
    await ctx.step(FILE, file, event.data.id, made, ctx.idempotency_key("file"))
    return made


@task(concurrency=4, retry=Retry(max_attempts=1))
async def summarise(section: Section, ctx: Context) -> str:
    """Summarise one section; at most four ask the model at a time, on however many machines they are."""
    return await ctx.step(ASK, ask, f"Summarise in one sentence:\n\n{section.text}")


async def fetch(url: str) -> str:
    """Return a document's text, in Markdown."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
    return answer.raise_for_status().text


async def ask(prompt: str) -> str:
    """Have the model answer. What it can't do now is tried again, what it refuses is given up on."""
    async with httpx.AsyncClient(timeout=None) as client:  # noqa: S113 - the step bounds it
        answer = await client.post(f"{MODEL}/complete", json={"prompt": prompt})
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS and "retry-after" in answer.headers:
        raise RetryAfter(float(answer.headers["retry-after"]), "the model's rate limit")
    if answer.is_client_error:
        raise Abort(f"the model refuses: {answer.status_code} {answer.text[:200]}")
    text: str = answer.raise_for_status().json()["text"]
    return text


async def file(document: str, made: Digest, key: str) -> None:
    """Store a digest beside its document; by the key the library knows a request that comes again."""
    async with httpx.AsyncClient() as client:
        answer = await client.put(
            f"{LIBRARY}/documents/{document}/digest",
            json=made.model_dump(),
            headers={"Idempotency-Key": key},
        )
    answer.raise_for_status()


def split(text: str) -> list[Section]:
    """Split Markdown at its headings of the second level."""
    parts = re.split(r"^## +(.+)$", text, flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return [Section(title=title.strip(), text=body.strip()) for title, body in pairs]
