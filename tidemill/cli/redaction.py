"""Redaction: real events become samples without the people and the secrets in them.

Structure, types and formats stay, so that what handlers read is still there. A value is replaced for what
it looks like (addresses of mail and machines, telephone numbers, tokens) or for what its key says (names,
streets, passwords). Equal values become equal stand-ins, so that references within a document stay true.
Free text is kept but for what looks like one of these: read a sample before you share it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_IPV4: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")
_IPV6: Final = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f]{1,4}(?![\w:])")
_PHONE: Final = re.compile(r"(?<![\w+])\+[1-9]\d{7,14}(?!\w)")
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*")
_KEY: Final = re.compile(r"(?:sk|rk|pk|whsec|xox[abprs]|gh[opsu]|glpat|shp(?:at|ss))[_-][A-Za-z0-9_-]{8,}")
_QUERY: Final = re.compile(
    r"(?<=[?&])([\w.-]*(?:token|key|sig|secret|code|password)[\w.-]*)=[^&#\s]+", re.IGNORECASE
)
_SECRETS: Final = frozenset(
    ("password", "passwd", "secret", "token", "authorization", "cookie", "signature", "apikey", "credential")
)
_PERSONAL: Final = {
    ("first", "name"): "First", ("last", "name"): "Last", ("full", "name"): "Full Name",
    ("given", "name"): "First", ("family", "name"): "Last", ("real", "name"): "Real Name",
    ("display", "name"): "Display Name", ("user", "name"): "user", ("username",): "user", ("login",): "user",
    ("nickname",): "nick", ("surname",): "Last", ("firstname",): "First", ("lastname",): "Last",
    ("address1",): "Street", ("address2",): "Street", ("street",): "Street", ("line1",): "Street",
    ("line2",): "Street", ("address", "line", "1"): "Street", ("address", "line", "2"): "Street",
    ("city",): "City", ("zip",): "00000", ("postal", "code"): "00000", ("postcode",): "00000",
    ("phone",): "+15550100", ("phone", "number"): "+15550100", ("mobile",): "+15550100",
    ("latitude",): "0", ("longitude",): "0", ("birthday",): "2000-01-01", ("last4",): "0000",
    ("iban",): "IBAN",
}  # fmt: skip
_ENDINGS: Final = 3
REDACTED: Final = "REDACTED"


class Redaction:
    """Redacts documents; the same value is replaced by the same stand-in in all of them.

    Args:
        keys: further keys whose values are replaced, in any case.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = {key.lower() for key in keys}
        self._numbers: dict[tuple[str, str], int] = {}
        self._counts: dict[str, int] = {}

    def redact(self, value: Any, key: str = "") -> Any:
        """Return a copy without what is personal or secret."""
        if isinstance(value, Mapping):
            return {name: self.redact(member, name) for name, member in value.items()}
        if isinstance(value, list):
            return [self.redact(item, key) for item in value]
        if isinstance(value, str) and value:
            return self._text(value, key)
        if key.lower() in self._keys and isinstance(value, int | float) and not isinstance(value, bool):
            return type(value)(0)
        return value

    def _text(self, text: str, key: str) -> str:
        words = tuple(word.lower() for word in _WORDS.findall(key))
        if key.lower() in self._keys:
            return REDACTED
        if _is_secret(words):
            return REDACTED
        personal = _personal(words)
        if personal is not None:
            return self._stand_in(personal, text)
        return self._patterns(text)

    def _patterns(self, text: str) -> str:
        text = _QUERY.sub(rf"\1={REDACTED}", text)
        for pattern in (_JWT, _KEY):
            text = pattern.sub(REDACTED, text)
        for pattern, write in self._writers().items():
            text = pattern.sub(write, text)
        return text

    def _writers(self) -> dict[re.Pattern[str], Callable[[re.Match[str]], str]]:
        """Return what writes a stand-in for each kind of text: RFC 2606, 5737 and 3849 keep these free."""
        return {
            _EMAIL: lambda found: f"user{self._number('email', found[0])}@example.com",
            _IPV4: lambda found: f"192.0.2.{self._number('ip', found[0]) % 254 + 1}",
            _IPV6: lambda found: f"2001:db8:0:{self._number('ip', found[0]):x}:0:0:0:1",
            _PHONE: lambda found: f"+1555{self._number('phone', found[0]):07d}",
        }

    def _stand_in(self, kind: str, text: str) -> str:
        if not kind[-1].isalpha():
            return kind
        between = " " if kind[0].isupper() else ""
        return f"{kind}{between}{self._number(kind, text)}"

    def _number(self, kind: str, text: str) -> int:
        number = self._numbers.get((kind, text))
        if number is None:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            self._numbers[kind, text] = number
        return number


def _is_secret(words: tuple[str, ...]) -> bool:
    """Say whether a key holds a secret: `apiKey`, `client_secret`, `download_token`."""
    joined = "".join(words)
    named = any(joined.endswith(word) for word in _SECRETS) or joined in ("cvc", "cvv", "pin")
    return named or words[-2:] in (("api", "key"), ("private", "key"), ("access", "key"))


def _personal(words: tuple[str, ...]) -> str | None:
    """Return the stand-in for a key that names something personal, by its last words."""
    for length in range(_ENDINGS, 0, -1):
        if len(words) >= length and words[-length:] in _PERSONAL:
            return _PERSONAL[words[-length:]]
    return None
