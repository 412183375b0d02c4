"""Delivering: each channel has a task of its own, so that one that hangs keeps no other waiting."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consumers.alerts.budget import Outcome, Refused, Taken, settle
from consumers.alerts.channels import email, slack, webhook
from consumers.alerts.channels.posting import Way
from consumers.alerts.wording import document, held_note
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.alerts import AlertWebhookSettings, EmailSettings, SlackSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumers.alerts.state import AlertState, Attempt, Message
    from tidemill.kernel.settings.alerts import AlertsSettings

_IDLE_SECONDS: Final = 1.0
_SPARE_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Post:
    """Hands messages to channels.

    Attributes:
        settings: the alerts' settings.
        way: how channels are reached.
        base: where browsers reach the dashboard; empty where that isn't known.
        instance: the installation's name.
    """

    settings: AlertsSettings
    way: Way
    base: str
    instance: str

    async def send(self, name: str, message: Message, attempt: Attempt) -> Outcome:
        """Try a message at a channel once; whatever goes wrong is the outcome."""
        timeout = self.settings.timeout
        try:
            async with asyncio.timeout(timeout + _SPARE_SECONDS):
                return await self._send(name, message, attempt)
        except TimeoutError:
            return Refused(f"it wasn't taken within {timeout:g} s")
        except SettingsError as error:
            return Refused(error.sentence)
        except Exception as error:  # noqa: BLE001 - a defect of one channel must not keep the others from being told
            _log.error("alerts: channel %s failed", name, exc_info=error)
            return Refused(f"it failed: {type(error).__name__}")

    async def _send(self, name: str, message: Message, attempt: Attempt) -> Outcome:
        channel = self.settings.channels[name]
        data = document(message, attempt, self.base, self.instance)
        note = held_note(attempt, self.settings.per_hour)
        heading = self._heading(message)
        match channel:
            case SlackSettings():
                return await slack.send(channel, self.way, slack.body_of(data, heading, note))
            case EmailSettings():
                mail = email.email_of(channel, data, heading, note, message.at)
                return await email.send(channel, self.way, mail)
            case AlertWebhookSettings():
                return await webhook.send(channel, self.way, data, message.at)

    def _heading(self, message: Message) -> str:
        instance = f"Tidemill {self.instance}".strip()
        status = "" if message.status in ("held_back", "test") else f" {message.severity}"
        over = ", resolved" if message.status == "resolved" else ""
        return f"[{instance}{status}{over}] {message.title}"


class Sender:
    """Delivers one channel's messages, those that are due, the oldest first.

    Args:
        name: the channel's.
        state: what holds the messages.
        post: hands them over.
        now: says what time it is.
        may_send: says whether a message stands on the broker, so that it isn't forgotten.
        changed: called when something has become of a message.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it works with
        self,
        name: str,
        state: AlertState,
        post: Post,
        now: Callable[[], float],
        may_send: Callable[[Message], bool],
        changed: Callable[[], None],
    ) -> None:
        self._name = name
        self._state = state
        self._post = post
        self._now = now
        self._may_send = may_send
        self._changed = changed
        self._stopping = asyncio.Event()
        self.written = asyncio.Event()
        """Set when messages may be there."""

    async def run(self) -> None:
        """Deliver until `stop`, or until cancelled."""
        while not self._stopping.is_set():
            message = self._next()
            if message is None:
                self.written.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.written.wait(), _IDLE_SECONDS)
                continue
            outcome = await self._post.send(self._name, message, message.to[self._name])
            self._settle(message, outcome)
            await asyncio.sleep(0)

    def stop(self) -> None:
        """Deliver no more; what is on its way comes to its end."""
        self._stopping.set()
        self.written.set()

    def _next(self) -> Message | None:
        now = self._now()
        for message in self._state.outbox:
            attempt = message.to.get(self._name)
            if attempt is not None and attempt.due <= now and self._may_send(message):
                return message
        return None

    def _settle(self, message: Message, outcome: Outcome) -> None:
        retry_for = self._post.settings.retry_for
        settle(self._state, message, self._name, outcome, self._now(), retry_for=retry_for)
        if isinstance(outcome, Taken):
            _log.info("alert %s was told to %s", message.id, self._name)
        else:
            again = "it is tried again" if self._name in message.to else "it is given up"
            _log.warning("alert %s: channel %s: %s: %s", message.id, self._name, outcome.problem, again)
        self._changed()
