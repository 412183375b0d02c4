"""A destination: what stands between an event and the address that it is posted to."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from consumers.forwarding.breaker import Breaker
from consumers.forwarding.client import Client, PrivateAddressError, UnreachableError
from consumers.forwarding.message import message_of
from consumers.forwarding.pace import Pace
from consumers.forwarding.signing import key_of, signature_headers
from consumers.forwarding.verdict import Answer, Verdict
from tidemill.kernel import clock
from tidemill.kernel.egress import DIRECT, Egress
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.services.destinations import Disabled
from tidemill.kernel.settings.destinations import DestinationSettings
from tidemill.kernel.subjects import new_run
from tidemill.retry import Abort, RetryAfter


class DeliveryError(Exception):
    """A destination didn't take an event; it is tried again."""


class RejectedError(Abort):
    """A destination will never take an event; it isn't tried again."""


@dataclass(slots=True)
class _Turn:
    """What has come of one passage of the breaker; None where nothing was sent."""

    worked: bool | None = None


class Destination:
    """One destination of the settings, in one process.

    Attributes:
        name: the configured one.
        waiting: the runs that wait for the breaker or for their turn.
    """

    def __init__(
        self,
        name: str,
        settings: DestinationSettings,
        environ: Mapping[str, str],
        disabled: Disabled | None = None,
        egress: Egress = DIRECT,
    ) -> None:
        """Read the settings; nothing is connected yet.

        Raises:
            SettingsError: the address, a secret or a header can't be used.
        """
        self.name = name
        self.settings = settings
        self.waiting: set[str] = set()
        self._environ = environ
        self._disabled = disabled
        self._pace = Pace(settings.rate)
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_pause)
        try:
            self._own_headers()
            self._keys()
            self._client = Client(
                settings.address(environ),
                timeout=settings.timeout,
                connections=settings.concurrency,
                allow_private=settings.allow_private,
                egress=egress,
            )
        except SettingsError as error:
            raise SettingsError(f"destinations.{name}: {error.sentence}", hint=error.hint) from None

    async def deliver(self, envelope: Envelope, run: str, attempt: int) -> dict[str, Any]:
        """Post an event, as one attempt of a run, and return what came of it.

        Raises:
            DeliveryError: it is to be tried again.
            RetryAfter: the same, not before the destination wants it.
            RejectedError: it will never be taken.
        """
        await self._require_enabled()
        async with self._turn(run) as turn:
            began = time.perf_counter()
            answer = await self._ask(envelope, run)
            turn.worked = answer.verdict is not Verdict.AGAIN
        await self._judge(answer, attempt)
        return {"status": answer.status, "seconds": round(time.perf_counter() - began, 3)}

    async def post(self, envelope: Envelope, run: str) -> Answer:
        """Post an event, whatever came before, and return the answer.

        Raises:
            PrivateAddressError: the address mustn't be connected to.
            UnreachableError: there was no answer.
            SettingsError: a secret can't be resolved any more.
        """
        message = message_of(envelope, self.settings.body)
        message_id = f"msg_{envelope.deliverykey or run}"
        moment = int(clock.now().timestamp())
        signature = signature_headers(message_id, moment, message.body, self._keys())
        return await self._client.post(message.headers | self._own_headers() | signature, message.body)

    async def try_out(self) -> Answer:
        """Post a sample, and return the answer; it raises as `post` does."""
        run = new_run()
        sample = Envelope(id=run, source="tidemill", type="tidemill.test", raw=b'{"test":true}')
        return await self.post(sample, run)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    @contextlib.asynccontextmanager
    async def _turn(self, run: str) -> AsyncIterator[_Turn]:
        """Wait until one may send, and tell the breaker what has come of it."""
        turn = _Turn()
        self.waiting.add(run)
        try:
            tried = await self._breaker.enter()
            try:
                await self._pace.keep()
                self.waiting.discard(run)
                yield turn
            except DeliveryError:
                turn.worked = False
                raise
            finally:
                self._breaker.leave(tried=tried, worked=turn.worked)
        finally:
            self.waiting.discard(run)

    async def _ask(self, envelope: Envelope, run: str) -> Answer:
        try:
            return await self.post(envelope, run)
        except PrivateAddressError as error:
            hint = f"destinations.{self.name}.allow_private = true lets it"
            raise RejectedError(f"nothing was sent to {self.name}: {error}; {hint}") from None
        except (UnreachableError, SettingsError) as error:
            said = error.sentence if isinstance(error, SettingsError) else str(error)
            raise DeliveryError(f"{self.name}: {said}") from None

    async def _judge(self, answer: Answer, attempt: int) -> None:
        sentence = f"{self.name} {answer.sentence}"
        match answer.verdict:
            case Verdict.AGAIN if answer.retry_after is not None:
                # Who asks for no time at all is still not asked faster than at first.
                raise RetryAfter(max(answer.retry_after, self.settings.retry.min_delay), sentence)
            case Verdict.AGAIN:
                raise DeliveryError(f"{sentence}, attempt {attempt}")
            case Verdict.NEVER:
                raise RejectedError(sentence)
            case Verdict.GONE:
                if self._disabled is not None:
                    await self._disabled.disable(self.name, sentence)
                raise RejectedError(f"{sentence}: it is disabled from now on")
            case Verdict.DONE:
                return

    async def _require_enabled(self) -> None:
        found = await self._disabled.find(self.name) if self._disabled is not None else None
        if found is not None:
            raise RejectedError(
                f"{self.name} is disabled since {found['at']}: {found['reason']}; "
                f"`tidemill destinations enable {self.name}` lets it be sent to again"
            )

    def _keys(self) -> list[bytes]:
        return [key_of(secret) for secret in self.settings.signing_secrets(self._environ)]

    def _own_headers(self) -> dict[str, str]:
        return self.settings.header_values(self._environ)
