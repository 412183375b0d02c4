"""A message as it came from the broker."""

from __future__ import annotations

from typing import Final

_VERSION: Final = b"NATS/1.0"
_SPACES: Final = frozenset(" \t\r\n\v\f")


class Message:
    """A message as it came from the broker; a status of the broker stands in `headers["Status"]`."""

    __slots__ = ("_head", "_headers", "body", "reply", "subject")

    def __init__(self, subject: str, body: bytes, head: bytes = b"", reply: str = "") -> None:
        self.subject = subject
        self.body = body
        self.reply = reply
        self._head = head
        self._headers: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"<Message {self.subject} {len(self.body)} bytes>"

    @property
    def headers(self) -> dict[str, str] | None:
        """Its headers, read at the first look; None where it has none."""
        if self._headers is None and self._head:
            self._headers = read_headers(self._head)
        return self._headers


def read_headers(head: bytes) -> dict[str, str]:
    """Return headers by name, and the broker's status as `Status` and `Description` (NATS ADR-4).

    What isn't a header is left out; bytes that aren't UTF-8 become U+FFFD.
    """
    first, *lines = head.split(b"\r\n")
    found: dict[str, str] = {}
    code, _, description = first.removeprefix(_VERSION).strip().partition(b" ")
    if code.isdigit():
        found["Status"] = code.decode()
        if description:
            found["Description"] = description.decode("utf-8", "replace")
    for line in lines:
        name, colon, value = line.partition(b":")
        key = name.strip()
        if colon and key.isascii() and _SPACES.isdisjoint(key.decode("ascii")):
            found[key.decode("ascii")] = value.strip().decode("utf-8", "replace")
    return found
