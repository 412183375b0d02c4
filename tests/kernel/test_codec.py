from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_serializer
from typing_extensions import TypedDict

from tidemill.kernel.codec import Codec
from tidemill.kernel.errors import DefinitionError, PayloadError
from tidemill.kernel.json_faults import path_text


@dataclass
class Item:
    when: datetime
    price: Decimal = Decimal(1)
    ids: tuple[UUID, ...] = ()
    note: str | None = None


@dataclass
class Report:
    ok: bool
    items: list[Item] = field(default_factory=list)


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    pair: tuple[int, str]
    at: datetime


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    score: float = 0.0


class Movie(TypedDict, total=False):
    title: str
    year: int


class Touchy(BaseModel):
    value: int

    @field_serializer("value")
    def refuse(self, _: int) -> int:
        raise KeyError("lost")


class NotJson:
    pass


WHOLE = st.integers(-(2**63), 2**63)
MOMENTS = st.datetimes(timezones=st.just(UTC))
ITEMS = st.builds(
    Item,
    MOMENTS,
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.lists(st.uuids(), max_size=3).map(tuple),
    st.none() | st.text(),
)
REPORTS = st.builds(Report, st.booleans(), st.lists(ITEMS, max_size=3))
ROUND_TRIPS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Report, REPORTS),
    (list[Report], st.lists(REPORTS, max_size=2)),
    (Strict, st.builds(Strict, pair=st.tuples(WHOLE, st.text()), at=MOMENTS)),
    (Open, st.builds(Open, name=st.text(), score=st.floats(allow_nan=False, allow_infinity=False))),
    (Movie, st.fixed_dictionaries({"title": st.text()}, optional={"year": WHOLE})),
    (bytes, st.binary()),
    (dict[str, bytes], st.dictionaries(st.text(), st.binary())),
    (bytes | None, st.none() | st.binary()),
    (set[int], st.sets(WHOLE)),
    (datetime, MOMENTS),
    (int, WHOLE),
    (str, st.text()),
    (None, st.none()),
]


@pytest.mark.parametrize(("annotation", "values"), ROUND_TRIPS, ids=lambda part: str(part)[:30])
def test_what_is_encoded_reads_back_as_the_same_value(
    annotation: Any, values: st.SearchStrategy[Any]
) -> None:
    codec: Codec[Any] = Codec(annotation, "result")

    @given(values)
    def check(value: Any) -> None:
        raw = codec.encode(value)
        assert codec.decode(raw) == value
        assert codec.decode_value(orjson.loads(raw)) == value

    check()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(JSON)
def test_plain_json_is_passed_on_as_it_is(value: Any) -> None:
    codec: Codec[Any] = Codec(Any, "payload")
    assert codec.decode(codec.encode(value)) == value
    assert codec.decode_value(value) is value


PLACES = st.lists(
    st.integers(0, 3) | st.sampled_from(["a", "items", "head_commit", "x y", "0", "a.b"]), max_size=5
)


def nest(place: list[int | str], leaf: object) -> object:
    for step in reversed(place):
        leaf = [None] * step + [leaf] if isinstance(step, int) else {"before": 1, step: leaf}
    return leaf


@given(PLACES, st.sampled_from([NotJson(), float("nan"), float("-inf"), object]))
def test_a_value_without_json_form_is_named_by_its_path(place: list[int | str], leaf: object) -> None:
    codec: Codec[Any] = Codec(Any, "result")
    with pytest.raises(PayloadError) as caught:
        codec.encode(nest(place, leaf))
    assert f"can't be serialised: {path_text(place, 'result')}: " in caught.value.sentence


@pytest.mark.parametrize(
    ("annotation", "value", "told"),
    [
        (
            Report,
            Report(ok=True, items=[Item(datetime.now(UTC)), Item("x")]),  # type: ignore[arg-type]  # the point
            "result.items[1].when: Input should be a",
        ),
        (Report, Report(ok=True, items=[Item(NotJson())]), "result.items[0].when: "),  # type: ignore[arg-type]  # the point
        (Report, {"ok": "maybe"}, "result.ok: Input should be a valid boolean"),
        (Report, None, "result: Input should be an object"),
        (list[Report], [None], "result[0]: Input should be an object"),
        (Report, Report(ok=None), "result.ok: Input should be a valid boolean"),  # type: ignore[arg-type]  # the point
        (int, "three", "result: Input should be a valid integer"),
        (float, float("inf"), "result: inf is no JSON number"),
        (Any, {"a": [1, 10**30]}, "result.a[1]: an integer of 100 bits is no JSON number"),
        (int, 10**4000, "result: an integer of 13288 bits is no JSON number"),
        (list[int], [2**64], "result[0]: an integer of 65 bits is no JSON number"),
        (Open, Open(name="a", score=float("nan")), "result.score: nan is no JSON number"),
        (Open, Open(name="a", more=[NotJson()]), "result.more[0]: "),  # type: ignore[call-arg]  # extra members
        (list[str], ["a", 5], "result[1]: Input should be a valid string"),
        (Touchy, Touchy(value=1), "KeyError"),
    ],
)
def test_a_result_that_does_not_fit_is_named_by_its_path(annotation: Any, value: Any, told: str) -> None:
    codec: Codec[Any] = Codec(annotation, "result")
    with pytest.raises(PayloadError) as caught:
        codec.encode(value)
    assert told in caught.value.sentence
    assert caught.value.hint


def test_a_value_of_another_type_passes_where_its_json_reads_back_as_the_annotation() -> None:
    codec: Codec[Report] = Codec(Report, "result")
    loose: Any = {"ok": True, "items": [{"when": "2026-01-01T00:00:00Z"}]}
    assert codec.decode(codec.encode(loose)) == Report(
        ok=True, items=[Item(datetime(2026, 1, 1, tzinfo=UTC))]
    )


def test_something_that_refers_to_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = [loop]
    with pytest.raises(PayloadError, match=r"result.again\[0\]: refers to itself"):
        Codec(Any, "result").encode(loop)


@pytest.mark.parametrize(
    ("annotation", "raw", "told"),
    [
        (Report, b'{"items":[{}]}', "ok: Field required; items[0].when: Field required"),
        (Report, b"[1", "payload: Invalid JSON"),
        (Report, b"", "payload: Invalid JSON"),
        (Report, b"\xff", "payload: Invalid JSON"),
        (Any, b"{", "the payload is no JSON"),
        (Any, b"NaN", "the payload is no JSON"),
        (dict[str, Any], b"[]", "payload: Input should be an object"),
        (Annotated[int, Field(ge=3)], b"1", "payload: Input should be greater than or equal to 3"),
        (bytes, b'"*"', "payload: "),
        (list[int], b'["a","b","c","d","e"]', "[2]: Input should be a valid integer, unable"),
        (list[int], b'["a","b","c","d","e"]', "(and 2 more)"),
    ],
)
def test_a_payload_that_does_not_fit_names_its_fields(annotation: Any, raw: bytes, told: str) -> None:
    with pytest.raises(PayloadError) as caught:
        Codec(annotation, "payload").decode(raw)
    assert told in caught.value.sentence


def test_parsed_json_is_read_by_the_rules_of_json_not_of_python() -> None:
    parsed = {"pair": [1, "a"], "at": "2026-01-01T00:00:00Z"}
    assert Codec(Strict, "payload").decode_value(parsed).pair == (1, "a")


@pytest.mark.parametrize("annotation", [NotJson, list[NotJson], "Unknown", list["Unknown"]])  # noqa: F821 - the point
def test_an_annotation_that_cannot_be_built_is_refused(annotation: Any) -> None:
    with pytest.raises(DefinitionError, match=r"the payload's annotation .* can't be built") as caught:
        Codec(annotation, "payload")
    assert "pydantic model" in caught.value.hint


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (Any, None),
        (Callable[[], int], None),
        (list[str], {"type": "array", "items": {"type": "string"}}),
    ],
)
def test_the_schema_describes_what_is_accepted(annotation: Any, schema: object) -> None:
    assert Codec(annotation, "payload").schema == schema


@pytest.mark.parametrize(
    ("place", "root", "text"),
    [
        ((), "result", "result"),
        (("items", 3, "when"), "result", "result.items[3].when"),
        (("head_commit", "id"), "", "head_commit.id"),
        ((0, "x y"), "result", "result[0]['x y']"),
    ],
)
def test_a_place_is_written_as_users_write_it(place: tuple[str | int, ...], root: str, text: str) -> None:
    assert path_text(place, root) == text
