"""What a journal keeps of an exception."""

from __future__ import annotations

import orjson
import pytest

from consumers.faults import fault_of
from tidemill.kernel.errors import PayloadError


class _MuteError(Exception):
    def __str__(self) -> str:
        raise LookupError


class _ExitsError(Exception):
    """Everything that is asked of it ends the process."""

    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __bool__ = __eq__ = __hash__ = __str__  # type: ignore[assignment]


class _NotedError(Exception):
    @property
    def __notes__(self) -> list[str]:
        raise SystemExit


class _CausedError(Exception):
    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]
        raise KeyboardInterrupt


class _Nameless(type):
    @property
    def __module__(cls) -> str:  # type: ignore[override]
        raise SystemExit


class _NamelessError(Exception, metaclass=_Nameless):
    pass


class _Text(str):
    """Text that does what it likes when it is cut or encoded."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        raise SystemExit

    __getitem__ = __format__ = encode  # type: ignore[assignment]


class _WordyError(Exception):
    def __str__(self) -> str:
        return _Text("words")


class Outer:
    class InnerError(Exception):
        """A nested exception."""


def _raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_it_holds_type_message_traceback_attempt_and_time() -> None:
    fault = fault_of(_raised(ValueError("no such ref")), attempt=2, at=12.5)
    assert (fault.type, fault.message, fault.attempt, fault.at) == ("ValueError", "no such ref", 2, 12.5)
    assert "test_faults.py" in fault.traceback
    assert fault.traceback.endswith("ValueError: no such ref\n")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (KeyError("x"), "KeyError"),
        (PayloadError("x"), "PayloadError"),
        (orjson.JSONDecodeError("x", "y", 0), "orjson.JSONDecodeError"),
    ],
)
def test_types_are_named_as_their_raisers_know_them(error: Exception, name: str) -> None:
    assert fault_of(error, attempt=1, at=0).type == name


def test_nested_types_are_named_in_full() -> None:
    assert fault_of(Outer.InnerError(), attempt=1, at=0).type.endswith("test_faults.Outer.InnerError")


def test_frames_of_the_house_are_left_out() -> None:
    from tidemill.kernel.clock import seconds  # noqa: PLC0415 - somebody of ours who raises

    try:
        seconds("nonsense")
    except Exception as error:  # noqa: BLE001 - the test's own
        fault = fault_of(error, attempt=1, at=0)
    assert "clock.py" not in fault.traceback
    assert "test_faults.py" in fault.traceback


def test_nothing_that_an_exception_does_can_hurt() -> None:
    mute = fault_of(_raised(_MuteError()), attempt=1, at=0)
    assert mute.message == "(its message can't be shown: LookupError)"
    strange = fault_of(_raised(OSError("file \udcff\ud800")), attempt=1, at=0)
    assert strange.message == "file \\udcff\\ud800"
    assert orjson.dumps([strange.message, strange.traceback, strange.type])


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (_ExitsError(), "_ExitsError", "(its message can't be shown: SystemExit)"),
        (_NotedError("x"), "_NotedError", "x"),
        (_CausedError("x"), "_CausedError", "x"),
        (_NamelessError("x"), "(its type can't be shown: SystemExit)", "x"),
        (_WordyError(), "_WordyError", "words"),
        (ExceptionGroup("some", [_ExitsError(), _NotedError()]), "ExceptionGroup", "some (2 sub-exceptions)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_even_what_ends_the_process_costs_its_text_alone(error: Exception, name: str, message: str) -> None:
    fault = fault_of(_raised(error), attempt=1, at=0)
    assert (fault.type.removeprefix(f"{__name__}."), fault.message) == (name, message)
    assert "test_faults.py" in fault.traceback
    assert orjson.dumps([fault.type, fault.message, fault.traceback])


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
@pytest.mark.parametrize("kind", [ValueError, _ExitsError])
def test_chains_that_come_back_to_their_beginning_end(link: str, kind: type[Exception]) -> None:
    first, second = ValueError("first"), kind("second")
    setattr(first, link, second)
    setattr(second, link, first)
    fault = fault_of(first, attempt=1, at=0)
    assert fault.message == "first"
    assert "first" in fault.traceback


def test_what_is_long_is_cut() -> None:
    def dive(depth: int) -> None:
        if depth == 0:
            raise ValueError("x" * 100_000)
        dive(depth - 1)

    try:
        dive(500)
    except ValueError as error:
        fault = fault_of(error, attempt=1, at=0)
    assert len(fault.message) == 4096
    assert len(fault.traceback) <= 16_385


def test_causes_are_kept() -> None:
    error = _raised(RuntimeError("the step"))
    error.__cause__ = _raised(OSError("the disk"))
    fault = fault_of(error, attempt=1, at=0)
    assert "the disk" in fault.traceback
    assert "direct cause" in fault.traceback
