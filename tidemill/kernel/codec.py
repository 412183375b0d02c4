"""Values of an annotated type as JSON and back: payloads of tasks, their results, later their steps'.

One codec stands on both ends of every journey, so that what was encoded reads back as the same value.
Bytes are base64url text where the annotation is a plain type (`bytes`, `list[bytes]`); in models and
dataclasses pydantic's own rules hold, which write bytes as UTF-8 text.
"""

from __future__ import annotations

import re
import warnings
from functools import cached_property
from typing import Any, Final, Generic, TypeVar, get_args, get_origin

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from tidemill.kernel.errors import DefinitionError, PayloadError
from tidemill.kernel.json_faults import Fault, not_finite, path_text, too_large, unserialisable

T = TypeVar("T")

_BASE64: Final = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
_PLAIN: Final[dict[Any, type]] = {Any: object, object: object, dict: dict, list: list}
_MAX_PROBLEMS: Final = 3
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_TYPES_HINT: Final = "use a pydantic model, a dataclass, a TypedDict or a plain type"


class Codec(Generic[T]):
    """Encodes and decodes values of one annotation; built once, where a task is defined.

    `name` is what the value is called in errors: `payload`, `result`.
    """

    def __init__(self, annotation: Any, name: str) -> None:
        """Build the codec.

        Raises:
            DefinitionError: pydantic can't build the annotation.
        """
        self.annotation = annotation
        self.name = name
        self._plain = _plain_type(annotation)
        self._only_null = annotation in (None, type(None))
        self._adapter: TypeAdapter[T] = _adapter(annotation, name)

    @cached_property
    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema of what `decode` accepts; None where it accepts anything or can't be described."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # defaults that aren't JSON are left out of a schema
                return self._adapter.json_schema() or None
        except PydanticUserError:
            return None

    def decode(self, raw: bytes) -> T:
        """Read a value from JSON text.

        Raises:
            PayloadError: the text is no JSON or doesn't fit the annotation; the sentence names the fields.
        """
        if self._plain is not None:
            value = self._parse(raw)
            if isinstance(value, self._plain):
                return value  # type: ignore[return-value]  # a plain annotation is the type of its JSON
        try:
            return self._adapter.validate_json(raw)
        except ValidationError as error:
            raise self._unfit(error) from None

    def decode_value(self, value: object) -> T:
        """Read a value from JSON that is parsed already, by the same rules as `decode`.

        Raises:
            PayloadError: it doesn't fit the annotation; the sentence names the fields.
        """
        if self._plain is not None and isinstance(value, self._plain):
            return value  # type: ignore[return-value]  # a plain annotation is the type of its JSON
        return self.decode(orjson.dumps(value))

    def encode(self, value: T) -> bytes:
        """Write a value as JSON text that `decode` reads back.

        Raises:
            PayloadError: the value isn't of the annotated type or has no JSON form; the sentence names
                the path inside the value.
        """
        if value is None and self._only_null:
            return b"null"
        raw = self._dump(value)
        if b"null" in raw:
            self._check_null(value, raw)
        if b"NaN" in raw or b"Infinity" in raw:
            self._parse(raw)
        if _LONG_NUMBER.search(raw):
            self._check_integers(value, raw)
        return raw

    def _check_integers(self, value: T, raw: bytes) -> None:
        """Refuse integers that wouldn't read back as they are, or not at all."""
        if (fault := too_large(value)) is not None:
            raise self._unserialisable(fault)
        self._parse(raw)

    def _check_null(self, value: T, raw: bytes) -> None:
        """Refuse what pydantic writes as null without a word: numbers that aren't finite, a missing value."""
        if (fault := not_finite(value)) is not None:
            raise self._unserialisable(fault)
        if self._plain is None:
            self.decode(raw)

    def _dump(self, value: T) -> bytes:
        if self._plain is not None and isinstance(value, self._plain):
            try:
                return orjson.dumps(value)
            except TypeError:
                pass  # sets, decimals, models: pydantic knows more types than orjson
        try:
            return self._adapter.dump_json(value, warnings="error")
        except Exception:  # noqa: BLE001 - a type's own serialiser may raise anything
            return self._dump_unexpected(value)

    def _dump_unexpected(self, value: T) -> bytes:
        """Write a value that isn't of the annotated type: it fits if its JSON reads back as that type."""
        try:
            raw = self._adapter.dump_json(value, warnings="none")
        except Exception as error:
            fault = unserialisable(value) or Fault((), str(error).partition("\n")[0])
            raise self._unserialisable(fault) from error
        try:
            return self._adapter.dump_json(self._adapter.validate_json(raw), warnings="none")
        except ValidationError as error:
            raise self._unfit(error) from None

    def _parse(self, raw: bytes) -> object:
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise PayloadError(f"the {self.name} is no JSON: {error}") from None

    def _unfit(self, error: ValidationError) -> PayloadError:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        told = [f"{self._path(problem['loc'])}: {problem['msg']}" for problem in problems[:_MAX_PROBLEMS]]
        more = f" (and {len(problems) - _MAX_PROBLEMS} more)" if len(problems) > _MAX_PROBLEMS else ""
        return PayloadError(
            f"the {self.name} doesn't fit {type_name(self.annotation)}: {'; '.join(told)}{more}",
            hint=f"compare the {self.name} with the annotation in the task's signature",
        )

    def _unserialisable(self, fault: Fault) -> PayloadError:
        return PayloadError(
            f"the {self.name} can't be serialised: {self._path(fault.place)}: {fault.reason}",
            hint=_TYPES_HINT,
        )

    def _path(self, place: tuple[str | int, ...]) -> str:
        root = "" if self.name == "payload" else self.name
        return path_text(place, root) or self.name


def type_name(annotation: Any) -> str:
    """Return an annotation as users write it, without its module."""
    return (
        annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
    )


def _plain_type(annotation: Any) -> type | None:
    """Return the type of the parsed JSON where an annotation asks for nothing more than that."""
    if annotation in (Any, object, dict, list):
        return _PLAIN[annotation]
    arguments = get_args(annotation)
    plain = (get_origin(annotation), arguments) in ((dict, (str, Any)), (list, (Any,)))
    return _PLAIN[get_origin(annotation)] if plain else None


def _adapter(annotation: Any, name: str) -> TypeAdapter[Any]:
    try:
        adapter = _with_base64(annotation)
    except Exception as error:
        reason = str(error).partition("\n")[0].partition(". Set `arbitrary")[0]
        raise _unbuildable(annotation, name, reason) from error
    if not adapter.pydantic_complete:
        raise _unbuildable(annotation, name, "it refers to a type that isn't defined yet")
    return adapter


def _with_base64(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=_BASE64)
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
    return TypeAdapter(annotation)


def _unbuildable(annotation: Any, name: str, reason: str) -> DefinitionError:
    return DefinitionError(
        f"the {name}'s annotation {type_name(annotation)} can't be built: {reason}", hint=_TYPES_HINT
    )
