from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.durable.scribe import LONGEST_LINE, Redactor, Scribe
from tidemill.kernel.settings.run_logs import RunLogsSettings

WORDS = RunLogsSettings().redact


def scribe(limit: int = 10_000, **given: Any) -> tuple[Scribe, list[Scribe]]:
    woken: list[Scribe] = []
    return Scribe("run_1", 1, limit, Redactor(WORDS), woken.append, **given), woken


def texts(one: Scribe) -> list[str]:
    return [line.text for line in one.take()[0]]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("password=hunter2 user=ada", "password=*** user=ada"),
        ("PASSWORD: hunter2", "PASSWORD: ***"),
        ('{"api_key": "sk 123", "n": 1}', '{"api_key": ***, "n": 1}'),
        ("{'access_token': 'abc'}", "{'access_token': ***}"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: ***"),
        ("authorization=Basic YTpi, next", "authorization=***, next"),
        ("GET https://ada:hunter2@example.com/x", "GET https://***@example.com/x"),
        ("client_secret=a&scope=b", "client_secret=***&scope=b"),
        ("Set-Cookie: session=abc", "Set-Cookie: ***"),
        ("the token ran out", "the token ran out"),
        ("https://example.com:8080/a@b", "https://example.com:8080/a@b"),
    ],
)
def test_values_of_secrets_are_stars(said: str, kept: str) -> None:
    assert Redactor(WORDS)(said) == kept


@given(st.text(max_size=300))
def test_any_text_can_be_redacted(text: str) -> None:
    redacted = Redactor(WORDS)(text)
    assert isinstance(redacted, str)
    if not any(word in text.lower() for word in WORDS) and "://" not in text:
        assert redacted == text


@pytest.mark.parametrize("text", ["token" * 2000, "a" * 8192, "token=" + "'" * 8000, "://" + "a:" * 4000])
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    Redactor(WORDS)(text)
    assert time.process_time() - began < 1


def test_lines_are_taken_once_and_wake_once() -> None:
    one, woken = scribe()
    one.log("info", "shop", "a")
    one.log("info", "shop", "b")
    assert woken == [one]
    assert texts(one) == ["a", "b"]
    assert texts(one) == []
    one.log("info", "shop", "c")
    assert woken == [one, one]


def test_what_is_said_too_much_is_counted() -> None:
    one, woken = scribe(limit=300)
    for number in range(10):
        one.log("info", "shop", f"line {number}")
    lines, missed = one.take()
    assert len(lines) + missed == 10
    assert 0 < len(lines) < 10
    one.log("info", "shop", "more")
    assert (one.take(), len(woken)) == (([], 1), 2)


def test_a_long_line_is_cut() -> None:
    one, _ = scribe(limit=10 * LONGEST_LINE)
    one.log("info", "shop", "x" * 100_000)
    [text] = texts(one)
    assert len(text) < LONGEST_LINE + 100
    assert text.endswith("(100000 characters)")


def test_prints_are_taken_by_the_line() -> None:
    one, _ = scribe()
    for part in ("a", "b\nc\r\n", "\n", "  \n", "d"):
        one.printed("stdout", part)
    one.printed("stderr", "e")
    assert texts(one) == ["ab", "c"]
    one.close()
    assert sorted(texts(one)) == ["d", "e"]


def test_a_print_that_never_ends_its_line_is_bounded() -> None:
    one, _ = scribe(limit=100_000)
    for _ in range(100):
        one.printed("stdout", "x" * 1000)
    assert sum(map(len, one._partial.values())) <= LONGEST_LINE + 1000


def test_what_is_said_again_is_left_out() -> None:
    repeating = [True]
    one, _ = scribe(repeating=lambda: repeating[0])
    one.log("info", "shop", "again")
    repeating[0] = False
    one.log("info", "shop", "new")
    assert texts(one) == ["new"]


def test_threads_lose_no_line() -> None:
    one, _ = scribe(limit=10_000_000)
    taken: list[str] = []

    def say() -> None:
        for number in range(500):
            one.log("info", "shop", str(number))

    threads = [threading.Thread(target=say) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken += texts(one)
    assert len(taken + texts(one)) == 2000
