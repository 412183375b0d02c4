"""What is sent to a client that may not take it."""

from __future__ import annotations

from typing import Any

from gateway.outflow import Outflow


class Transport:
    def __init__(self) -> None:
        self.unsent = 0
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.unsent += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent


def test_the_time_in_which_a_client_takes_nothing() -> None:
    transport: Any = Transport()
    outflow = Outflow(transport, 0.0)
    assert outflow.waited(100.0) is None
    outflow.write(b"x" * 10)
    assert outflow.waited(101.0) == 1.0, "it may have taken the last byte right after the look before"
    outflow.write(b"x" * 10)
    assert outflow.waited(108.0) == 8.0, "more was written, nothing taken"
    transport.unsent = 19
    assert outflow.waited(110.0) == 0.0
    assert outflow.waited(111.0) == 1.0
    transport.unsent = 0
    assert outflow.waited(112.0) is None


def test_nothing_is_written_to_who_has_gone() -> None:
    transport: Any = Transport()
    outflow = Outflow(transport, 0.0)
    transport.closing = True
    outflow.write(b"x")
    assert transport.unsent == 0
