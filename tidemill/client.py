"""The client behind `Task.trigger` and `Run`: which one is used, and how sync code gets through it.

A handler in a worker uses the worker's client. Other code uses the one of the surrounding `use` block,
else one that the settings describe. `from_settings` is the seam where transports are chosen.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import orjson

from tidemill.http_transport import HttpTransport
from tidemill.kernel.codec import Codec
from tidemill.kernel.decision import Decision
from tidemill.kernel.errors import ConflictError, SettingsError
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from types import TracebackType

    from tidemill.kernel.trigger import TriggerRequest
    from tidemill.transport import RunOutcome, Transport

T = TypeVar("T")
_ANYTHING: Final[Codec[object]] = Codec(Any, "payload")


class Client:
    """Reaches Tidemill through a transport; `async with` keeps its connections open.

    A transport that lives on an event loop (NATS) names it: calls from other loops and threads are then
    carried over to it. Without `loop` the transport may be used from anywhere.
    """

    def __init__(self, transport: Transport, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._transport = transport
        self._loop = loop

    @classmethod
    def http(cls, url: str, key: str | None = None) -> Self:
        """Return a client that speaks to a control listener."""
        return cls(HttpTransport(url, key))

    @classmethod
    def from_settings(cls, settings: Settings | None = None) -> Self:
        """Return the client that settings describe; by default those of the working directory.

        Raises:
            SettingsError: the settings are wrong, or don't say where the control listener is.
        """
        return cls(_transport(settings or Settings.load()))

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def trigger(self, request: TriggerRequest) -> str:
        """Create a run durably and return its id."""
        return await self._carry(self._transport.trigger(request))

    async def outcome(self, run_id: str, timeout: float | None) -> RunOutcome:
        """Return how a run has ended, waiting for it at most `timeout` seconds."""
        return await self._carry(self._transport.outcome(run_id, timeout))

    async def cancel(self, run_id: str, reason: str) -> None:
        """Ask for a run's end."""
        await self._carry(self._transport.cancel(run_id, reason))

    async def signal(self, run_id: str, name: str, payload: object = None, *, key: str | None = None) -> None:
        """Send a run a signal; it is kept until the run's code asks for it.

        Args:
            run_id: the run.
            name: the signal's, as `ctx.wait_for_signal` has it.
            payload: what it brings.
            key: an idempotency key: with the same one it reaches the run once.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has ended, or the key was used with another payload.
            PayloadError: the payload can't be serialised, or name or key can't be used.
        """
        data = _ANYTHING.encode(payload)
        await self._carry(self._transport.send_signal(run_id, name, data, key))

    async def complete(  # noqa: PLR0913 - what an answer is made of, each by name
        self,
        token_id: str,
        *,
        by: str = "",
        approved: bool = True,
        comment: str = "",
        data: object = None,
        key: str | None = None,
    ) -> None:
        """Answer a token or an approval that a run waits for.

        Args:
            token_id: the token's id: its run's id, a dot and its name.
            by: who answers; over HTTP with an API key it is the key's user, and needn't be said.
            approved: yes or no; a plain token takes yes alone.
            comment: what they say about it.
            data: what they give with it.
            key: an idempotency key: the same answer may be sent several times with it.

        Raises:
            NotFoundError: there is no such token.
            NotAllowedError: somebody else is asked.
            ExpiredError: nobody waits for it any more.
            ConflictError: it was decided before, or the run has ended.
            PayloadError: the answer doesn't fit what is asked for.
        """
        given = orjson.loads(_ANYTHING.encode(data))
        decision = Decision(by, approved, comment, given, key)
        await self._carry(self._transport.send_answer(token_id, decision))

    def trigger_sync(self, request: TriggerRequest) -> str:
        """Create a run durably and return its id; for code that isn't on an event loop.

        Raises:
            ConflictError: an event loop runs in this thread, and waiting would block it.
        """
        if on_event_loop():
            raise ConflictError(
                "trigger_sync would block the event loop of this thread", hint="await task.trigger(…) instead"
            )
        if self._loop is not None:
            return asyncio.run_coroutine_threadsafe(self._transport.trigger(request), self._loop).result()
        return asyncio.run(self._transport.trigger(request))

    async def _carry(self, call: Coroutine[Any, Any, T]) -> T:
        if self._loop is None or self._loop is asyncio.get_running_loop():
            return await call
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))


_used: ContextVar[Client | None] = ContextVar("tidemill_client", default=None)
_default: list[Client] = []


def current() -> Client:
    """Return the client of this code: of the worker or the `use` block around it, else of the settings.

    Raises:
        SettingsError: no client is in use and the settings don't give one.
    """
    client = _used.get()
    if client is not None:
        return client
    if not _default:
        _default.append(Client.from_settings())
    return _default[-1]


@contextlib.contextmanager
def use(client: Client) -> Iterator[Client]:
    """Make a client the one of the code inside, and of the tasks and threads that it starts."""
    token = _used.set(client)
    try:
        yield client
    finally:
        _used.reset(token)


@contextlib.contextmanager
def use_everywhere(client: Client) -> Iterator[Client]:
    """Make a client the default of the whole process meanwhile; `use` still wins inside of it."""
    _default.append(client)
    try:
        yield client
    finally:
        _default.remove(client)


def on_event_loop() -> bool:
    """Say whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _transport(settings: Settings) -> Transport:
    key = settings.client.key
    revealed = key.resolve(settings.inputs.environ).reveal() if key else None
    if settings.client.url:
        return HttpTransport(settings.client.url, revealed)
    listen = settings.control.listen
    if listen.port == 0:
        raise SettingsError(
            "the settings don't say where the control listener is: control.listen takes any free port",
            hint="set [client] url, or TIDEMILL_CLIENT__URL",
        )
    return HttpTransport(
        f"http://{listen}" if listen.loopback else f"http://127.0.0.1:{listen.port}", revealed
    )
