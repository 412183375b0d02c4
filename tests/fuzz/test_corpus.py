"""What fuzzing has found is judged again, input by input; `make fuzz` finds more."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable

import pytest

from tests.fuzz import corpus, json_target, recipe_target, run, seeds

CHECKS: dict[str, Callable[[bytes], str]] = {"recipe": recipe_target.check, "json": json_target.check}


@pytest.mark.parametrize("name", CHECKS)
def test_the_kept_inputs_are_judged_as_they_should(name: str) -> None:
    found = Counter(CHECKS[name](one) for one in corpus.load(name))
    assert len(found) >= 5


def test_every_preset_has_inputs_to_begin_with() -> None:
    outcomes = {recipe_target.check(one) for one in seeds.recipes()}
    assert {"accepted", "batch", "schema", "content_type"} <= outcomes
    assert {json_target.check(one) for one in seeds.documents()} == {*("sound", "not_json", "too_deep")}


def test_an_input_is_read_line_by_line() -> None:
    data = b"github 0 signed\na=1\nX-A: b\n+X-A: c\n\n{}\n\n"
    assert recipe_target.read(data) == (
        "github",
        0,
        b"signed",
        "a=1",
        [(b"x-a", b"b"), (b"+x-a", b"c")],
        b"{}\n\n",
    )
    assert recipe_target.read(b"").preset in recipe_target.preset_names()


@pytest.mark.parametrize("name", CHECKS)
def test_words_are_written_as_the_fuzzer_reads_them(name: str) -> None:
    for word in importlib.import_module(f"tests.fuzz.{name}_target").DICTIONARY:
        assert '"' not in word.replace("\\\\", "").replace('\\"', "")
    assert set(run.SEEDS) == set(CHECKS)
