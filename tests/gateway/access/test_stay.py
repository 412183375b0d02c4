"""What is followed with a login ends with it; all else is answered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tidemill.kernel.settings.control import ApiKey, ControlSettings
from tidemill.kernel.settings.keys import create_key, hash_key
from tidemill.kernel.settings.values import Address

if TYPE_CHECKING:
    import httpx
    from conftest import ControlBench
    from starlette.requests import Request

KEY = create_key()
CONTROL = ControlSettings(listen=Address("0.0.0.0", 8081), keys=(ApiKey(name="ada", hash=hash_key(KEY)),))


class Followed:
    """A control listener with something to follow, and something that takes its time."""

    def __init__(self, bench: type[ControlBench]) -> None:
        routes = [Route("/live", self.follow), Route("/api/v1/runs", self.slow)]
        self.bench = bench(CONTROL, lambda _: routes)
        self.begun = asyncio.Event()
        self.over = asyncio.Event()
        self.left = asyncio.Event()

    async def follow(self, _: Request) -> Response:
        return StreamingResponse(self.endless(), media_type="text/event-stream")

    async def endless(self) -> AsyncIterator[bytes]:
        try:
            yield b": hello\n\n"
            self.begun.set()
            await self.over.wait()
            yield b": stayed\n\n"
        finally:
            self.left.set()

    async def slow(self, _: Request) -> Response:
        self.begun.set()
        await self.over.wait()
        return PlainTextResponse("answered")

    def log_in(self) -> str:
        """Log in; return the form's token."""
        page = self.bench.browse("/login").text
        given = {name: hidden(page, name) for name in ("csrf", "next")}
        self.bench.browse("/login", "POST", data={**given, "key": KEY})
        return hidden(self.bench.browse("/nothing").text, "csrf")

    async def log_out(self, csrf: str, path: str) -> httpx.Response:
        """Ask for something, log out in the middle, and return what was answered."""
        async with asyncio.timeout(10):
            asked = asyncio.create_task(self.bench.client.get(path))
            await self.begun.wait()
            origin = {"origin": "http://127.0.0.1:8081"}
            reply = await self.bench.client.post("/logout", data={"csrf": csrf}, headers=origin)
            assert reply.headers["location"] == "/login"
            if path != "/live":
                self.over.set()
            return await asked


def hidden(page: str, name: str) -> str:
    found = re.search(rf'type="hidden" name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


@pytest.fixture
def followed(control_bench: type[ControlBench]) -> Followed:
    return Followed(control_bench)


def test_a_logout_ends_what_is_followed(followed: Followed) -> None:
    csrf = followed.log_in()
    reply = asyncio.run(followed.log_out(csrf, "/live"))
    assert (reply.status_code, reply.content) == (200, b": hello\n\n")
    assert followed.left.is_set()
    assert followed.bench.ask("/live").status_code == 401


def test_a_logout_takes_no_answer_away(followed: Followed) -> None:
    csrf = followed.log_in()
    assert asyncio.run(followed.log_out(csrf, "/api/v1/runs")).text == "answered"


async def end_all(followed: Followed) -> None:
    await followed.bench.revoked.end_all("ada", 4e9)


async def end_elsewhere(followed: Followed) -> None:
    followed.bench.revoked._hear("person.ada")


@pytest.mark.parametrize("end", [end_all, end_elsewhere])
def test_an_end_of_all_logins_ends_what_is_followed(followed: Followed, end: Callable[..., object]) -> None:
    followed.log_in()

    async def follow() -> bytes:
        async with asyncio.timeout(10):
            asked = asyncio.create_task(followed.bench.client.get("/live"))
            await followed.begun.wait()
            await end(followed)  # type: ignore[misc] # a coroutine
            return (await asked).content

    assert asyncio.run(follow()) == b": hello\n\n"


def test_others_stay(followed: Followed) -> None:
    followed.log_in()

    async def follow() -> bytes:
        async with asyncio.timeout(10):
            asked = asyncio.create_task(followed.bench.client.get("/live"))
            await followed.begun.wait()
            await followed.bench.revoked.end("somebody else's", keep=60)
            followed.over.set()
            return (await asked).content

    assert asyncio.run(follow()) == b": hello\n\n: stayed\n\n"
