"""API keys."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.settings.keys import HASH_PATTERN, create_key, find_key, hash_key


@dataclass(frozen=True)
class Known:
    name: str
    hash: str


def test_a_key_is_long_random_and_recognisable() -> None:
    keys = {create_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("tm_") and len(key) == 46 for key in keys)


def test_a_known_key_is_found() -> None:
    key = create_key()
    known = [
        Known("a", hash_key(create_key())),
        Known("b", hash_key(key)),
        Known("c", hash_key(create_key())),
    ]
    assert find_key(key, known) == known[1]


@given(st.text())
def test_any_other_text_is_not_a_key(text: str) -> None:
    assert HASH_PATTERN.fullmatch(hash_key(text))
    assert find_key(text, [Known("a", hash_key("tm_the-one"))]) is None
    assert find_key(text, []) is None
