"""What the reply subject of a delivery says: `$JS.ACK.…`, in its two forms.

Version 1: `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`; version 2
puts the domain and the account's hash before the stream, and may append a random token (nats-server,
ADR-15 "JetStream Subject Mapping and Acknowledgements").
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tidemill.kernel.errors import BrokerError

_VERSION_1_TOKENS: Final = 9
_VERSION_2_TOKENS: Final = 11
_NANOSECONDS: Final = 1e9


class AckReply(NamedTuple):
    """The numbers of a delivery; `stored_at` in seconds since 1970."""

    stream: str
    consumer: str
    attempt: int
    stream_seq: int
    consumer_seq: int
    stored_at: float
    pending: int


def parse(reply: str) -> AckReply:
    """Read a delivery's reply subject.

    Raises:
        BrokerError: it is none: the message is no delivery of a JetStream consumer.
    """
    tokens = reply.split(".")
    first = 2 if len(tokens) == _VERSION_1_TOKENS else 4
    if len(tokens) != _VERSION_1_TOKENS and len(tokens) < _VERSION_2_TOKENS:
        raise BrokerError(f"{reply!r}: no reply subject of a delivery")
    if tokens[0] != "$JS" or tokens[1] != "ACK":
        raise BrokerError(f"{reply!r}: no reply subject of a delivery")
    try:
        attempt, stream_seq, consumer_seq, stored, pending = map(int, tokens[first + 2 : first + 7])
    except ValueError as error:
        raise BrokerError(f"{reply!r}: no reply subject of a delivery") from error
    stream, consumer = tokens[first], tokens[first + 1]
    return AckReply(stream, consumer, attempt, stream_seq, consumer_seq, stored / _NANOSECONDS, pending)
