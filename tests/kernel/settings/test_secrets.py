"""Secrets are resolved, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret, SecretRef


@given(st.text(alphabet="abcdefgh", min_size=8))
def test_a_value_is_never_shown(value: str) -> None:
    shown = f"{Secret(value)!r} {Secret(value)} {SecretRef(value)!r} {SecretRef(value)} {[Secret(value)]}"
    assert value not in shown
    assert Secret(value).reveal() == value


def test_references_are_shown() -> None:
    assert str(SecretRef("env:NAME")) == "env:NAME"
    assert str(SecretRef("file:/run/secrets/a")) == "file:/run/secrets/a"


def test_equal_secrets_are_equal() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_each_form_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from file\n")
    assert SecretRef("plain").resolve({}).reveal() == "plain"
    assert SecretRef("env:A").resolve({"A": " from env "}).reveal() == " from env "
    assert SecretRef(f"file:{tmp_path}/secret").resolve({}).reveal() == "from file"


@pytest.mark.parametrize("text", ["env:NOPE", "env:EMPTY", "file:/does/not/exist", "file:/dev/null"])
def test_what_cant_be_resolved_says_why(text: str) -> None:
    with pytest.raises(SettingsError, match=text) as caught:
        SecretRef(text).resolve({"EMPTY": ""})
    assert caught.value.hint
