from __future__ import annotations

import inspect

import tidemill
from tidemill.kernel.errors import TidemillError

ALIASES = {"CallNext", "Duration", "Middleware", "Outcome", "task"}
"""What can have no docstring of its own."""


def test_every_public_name_exists_once_and_is_documented() -> None:
    assert len(set(tidemill.__all__)) == len(tidemill.__all__)
    for name in tidemill.__all__:
        thing = getattr(tidemill, name)
        assert name in ALIASES or inspect.getdoc(thing), name


def test_every_method_of_a_public_class_is_documented() -> None:
    for name in tidemill.__all__:
        thing = getattr(tidemill, name)
        if not inspect.isclass(thing) or thing.__module__.startswith("typing"):
            continue
        for method, function in inspect.getmembers(thing, inspect.isfunction):
            if not method.startswith("_") and function.__module__.startswith("tidemill"):
                assert inspect.getdoc(function), f"{name}.{method}"


def test_public_errors_stand_in_one_tree() -> None:
    errors = [getattr(tidemill, name) for name in tidemill.__all__ if name.endswith("Error")]
    assert len(errors) == 12
    assert all(issubclass(error, TidemillError) for error in errors)
