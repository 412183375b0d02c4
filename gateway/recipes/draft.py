"""A request that is being made: headers, body and URL, into which a proof is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from gateway.inbound import Inbound
from gateway.recipes import selector
from gateway.recipes.message import Message, fields_of
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from gateway.recipes.selector import Selector

_FORM = "application/x-www-form-urlencoded"


class Draft:
    """One request before it is sent.

    Attributes:
        headers: by name, as the sender writes them.
        body: the raw body.
        url: where it will be posted to; empty where nobody has said.
    """

    def __init__(
        self, headers: dict[str, str], body: bytes, url: str, moment: float, *, indented: bool
    ) -> None:
        self.headers, self.body, self.url = headers, body, url
        self._moment = moment
        self._indented = indented

    @property
    def origin(self) -> str | None:
        """The URL's scheme and host, None without a URL."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else None

    def message(self) -> Message:
        """Return the request as its receiver reads it."""
        parts = urlsplit(self.url)
        raw = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()
        ]
        return Message(Inbound("POST", parts.path or "/", parts.query, raw, self.body, self._moment))

    def holds(self, found: Selector) -> bool:
        """Say whether a selector finds something."""
        return self.message().value(found) is not None

    def put(self, found: Selector, value: str | int) -> None:
        """Write a value where a selector finds it.

        Raises:
            SettingsError: the body has no such place.
        """
        if found.place == "header":
            self.headers[found.name.removesuffix("*") + ("1" if found.name.endswith("*") else "")] = str(
                value
            )
        elif found.place == "query":
            joint = "&" if "?" in self.url else "?"
            self.url = f"{self.url}{joint}{quote(found.name)}={quote(str(value))}"
        elif found.place == "form":
            self._put_field(found.key, str(value).encode())
        elif found.place == "body":
            self.put_value(selector.path_of(found.name), value)

    def put_each(self, each: str, path: str, value: str) -> None:
        """Write a value into every item of an array of the body."""
        items = selector.find(self.message().document, selector.path_of(each))
        for index in range(len(items) if isinstance(items, list) else 0):
            self.put_value((*selector.path_of(each), index, *selector.path_of(path)), value)

    def _put_field(self, name: bytes, value: bytes) -> None:
        fields = [field for field in fields_of(self.body) if field[0] != name]
        self.headers["Content-Type"] = _FORM
        self.body = urlencode([*fields, (name, value)]).encode()

    def put_value(self, path: selector.Path, value: str | int) -> None:
        """Write a value at a path of the body's JSON, whose objects are made where they are missing.

        Raises:
            SettingsError: the body has no such place.
        """
        document = self.message().document
        *way, last = path
        here = document
        for part in way:
            here = here.setdefault(str(part), {}) if isinstance(here, dict) else selector.find(here, (part,))
        if not _set(here, last, value):
            raise SettingsError(
                f"the body has no place for {selector.json_path(path)}",
                hint="give a body that is a JSON object",
            )
        self.body = orjson.dumps(document, option=orjson.OPT_INDENT_2 if self._indented else 0)


def _set(holder: Any, last: str | int, value: str | int) -> bool:
    if isinstance(holder, dict):
        holder[str(last)] = str(value) if isinstance(holder.get(str(last)), str) else value
        return True
    if isinstance(holder, list) and isinstance(last, int) and last < len(holder):
        holder[last] = value
        return True
    return False
