"""A message as an e-mail of plain text, through a mail server.

The standard library's client blocks, so it works in a thread of its own. A server that hangs is left at the
deadline: its connection is shut down, which ends the thread's wait.
"""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import threading
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING, Any, Final

from consumers.alerts.budget import Outcome, Refused, Taken
from consumers.alerts.wording import line
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumers.alerts.channels.posting import Way
    from tidemill.kernel.settings.alerts import EmailSettings

_SUBJECT: Final = 150
_SPARE_SECONDS: Final = 1.0
_TEMPORARY: Final = range(400, 500)


def email_of(
    settings: EmailSettings, document: Mapping[str, Any], heading: str, note: str, at: float
) -> EmailMessage:
    """Return the e-mail; its id is the message's, so that who gets it twice can tell."""
    found = EmailMessage(policy=SMTP)
    found["Subject"] = line(heading, _SUBJECT)
    found["From"] = settings.sender
    found["To"] = ", ".join(settings.to)
    found["Date"] = datetime.fromtimestamp(at, UTC)
    found["Message-ID"] = f"<{document['id']}@{settings.sender.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"
    found.set_content(text_of(document, note))
    return found


def text_of(document: Mapping[str, Any], note: str) -> str:
    """Return the text of an e-mail."""
    parts = [document["title"]]
    for alert in document["alerts"]:
        lines = [alert["summary"], *(f"  {one['id']}: {one['text']}" for one in alert["examples"])]
        parts.append("\n".join([*lines, *([f"  {alert['url']}"] if alert["url"] else [])]))
    parts += [f"and {document['more']} more"] if document["more"] else []
    parts += [note] if note else []
    parts += [document["url"]] if document["url"] else []
    return "\n\n".join(parts) + "\n"


async def send(settings: EmailSettings, way: Way, message: EmailMessage) -> Outcome:
    """Hand an e-mail to the mail server, in time from beginning to end; no proxy is used.

    Raises:
        SettingsError: the password or the certificates can't be used.
    """
    password = settings.password.resolve(way.environ).reveal() if settings.password is not None else None
    delivery = _Delivery(settings, password, _tls(settings), way.timeout)
    done: Future[Outcome] = Future()
    # A thread of its own, and not one of a pool: one that hangs on must not keep others, or the process.
    thread = threading.Thread(target=delivery.run, args=(message, done), name="alert e-mail", daemon=True)
    thread.start()
    try:
        async with asyncio.timeout(way.timeout):
            return await asyncio.wrap_future(done)
    except TimeoutError:
        return Refused(f"{settings.host} didn't take it within {way.timeout:g} s")
    finally:
        delivery.abort()


class _Delivery:
    """One connection to a mail server."""

    def __init__(
        self, settings: EmailSettings, password: str | None, tls: ssl.SSLContext, timeout: float
    ) -> None:
        self._settings = settings
        self._password = password
        self._tls = tls
        self._timeout = timeout + _SPARE_SECONDS  # the deadline comes first, and says so
        self._client: smtplib.SMTP | None = None
        self._aborted = False

    def run(self, message: EmailMessage, done: Future[Outcome]) -> None:
        """Send, and say what came of it; in a thread."""
        try:
            outcome = self._send(message)
        except Exception as error:  # noqa: BLE001 - whatever a server makes of the client, the channel failed
            outcome = _failure(self._settings.host, error)
        if not done.cancelled():
            with suppress(Exception):  # it was given up in this very moment
                done.set_result(outcome)

    def abort(self) -> None:
        """End the connection, whatever it waits for."""
        self._aborted = True
        connection = self._client.sock if self._client is not None else None
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _send(self, message: EmailMessage) -> Outcome:
        settings = self._settings
        client = self._client = self._open()
        try:
            client.connect(settings.host.strip("[]"), settings.port)
            if self._aborted:
                return Refused("it took too long")
            if settings.tls == "starttls":
                client.starttls(context=self._tls)
            if settings.user is not None and self._password is not None:
                client.login(settings.user, self._password)
            refused = client.send_message(message)
            with suppress(smtplib.SMTPException, OSError):  # it has the message, however it says good-bye
                client.quit()
        finally:
            client.close()
        return Taken() if not refused else _refused(refused)

    def _open(self) -> smtplib.SMTP:
        """Return a client that isn't connected yet."""
        domain = self._settings.sender.rpartition("@")[2]
        if self._settings.tls == "tls":
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                local_hostname=domain, timeout=self._timeout, context=self._tls
            )
        else:
            client = smtplib.SMTP(local_hostname=domain, timeout=self._timeout)
        client._host = self._settings.host.strip("[]")  # type: ignore[attr-defined] # noqa: SLF001 - what TLS holds certificates against; set by the constructor alone (bpo-43399)
        return client


def _tls(settings: EmailSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
    except OSError as error:
        raise SettingsError(
            f"{settings.ca} can't be used: {error}", hint="name a readable file in PEM format"
        ) from error


def _refused(refused: Mapping[str, tuple[int, bytes]]) -> Outcome:
    """Return what a server has said that takes a message for some of its addresses alone: those have it."""
    code, _ = next(iter(refused.values()))
    return Refused(f"{len(refused)} of the addresses weren't taken ({code})", again=False)


def _failure(host: str, error: Exception) -> Refused:
    """Return why an e-mail wasn't taken, without what the server wrote: it may quote the message."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            codes = {code for code, _ in error.recipients.values()}
            again = not codes.isdisjoint(_TEMPORARY)
            said = Refused(f"{host} takes none of the addresses ({min(codes)})", again=again)
        case smtplib.SMTPAuthenticationError():  # somebody may mend it in time
            said = Refused(f"{host} doesn't take the login ({error.smtp_code})")
        case smtplib.SMTPResponseException():
            again = error.smtp_code in _TEMPORARY or error.smtp_code < 0
            said = Refused(f"{host} refused it: {type(error).__name__} ({error.smtp_code})", again=again)
        case smtplib.SMTPServerDisconnected():
            said = Refused(f"{host} has hung up")
        case smtplib.SMTPNotSupportedError():
            said = Refused(f"{host}: {line(str(error), _SUBJECT)}", again=False)
        case ssl.SSLError():
            said = Refused(f"{host}: TLS failed: {line(error.reason or str(error), _SUBJECT)}")
        case OSError():
            reason = error.strerror or type(error).__name__
            said = Refused(f"{host} can't be reached: {line(reason, _SUBJECT)}")
        case _:
            said = Refused(f"{host}: {type(error).__name__}")
    return said
