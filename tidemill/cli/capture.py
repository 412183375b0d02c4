"""Captured events as golden samples: their data, and the file where it belongs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import orjson

from tidemill.kernel.errors import PayloadError, SettingsError
from tidemill.kernel.subjects import escape, escape_type

if TYPE_CHECKING:
    from pathlib import Path

    from tidemill.cli.redaction import Redaction
    from tidemill.cli.remote import Row
    from tidemill.kernel.settings.model import Settings

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SCHEMA: Final = re.compile(r"tidemill:schemas/[^/]+/(?P<folder>[A-Za-z0-9_%-][A-Za-z0-9_.%-]*)/[0-9]+")


def written_data(row: Row, redaction: Redaction | None) -> bytes:
    """Return an event's data as a sample's file has it, redacted where that is wanted.

    Raises:
        PayloadError: the event has no JSON.
    """
    if row["data"] is None:
        raise PayloadError("the event's body is no JSON", hint="save it byte by byte: without these options")
    data = redaction.redact(row["data"]) if redaction else row["data"]
    return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def prepare_sample_file(settings: Settings, event: Row, name: str) -> Path:
    """Return where a sample of an event belongs, in a folder that is there.

    It stands beside the schema that the event fits, or under its whole type where there is none.

    Raises:
        SettingsError: the settings name no folder of schemas.
        PayloadError: the name can't be a file's.
    """
    if not settings.schemas.directories:
        raise SettingsError(
            "there is no folder for samples", hint='write directories = ["schemas"] under [schemas]'
        )
    if not _NAME.fullmatch(name):
        raise PayloadError(f"{name!r} can't be a sample's name", hint="letters, digits, hyphens, underscores")
    source = str(event["source"]).partition("/")[0]
    fitting = _SCHEMA.fullmatch(str(event.get("dataschema") or ""))
    folder = fitting["folder"] if fitting else escape_type(str(event["type"]).removeprefix(f"{source}."))
    path = settings.schemas.directories[0] / escape(source) / folder / "samples" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
