"""Handshakes: answering a provider that asks whether an address is ours, by its recipe, without any I/O.

What is reflected is bounded, has no control characters and travels as text or JSON that no browser
executes. Total over its input, as verification is: whatever the bytes, the outcome is a value.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from gateway import strictjson
from gateway.answer import Answer
from gateway.reading import form_fields
from gateway.reason import Reason
from gateway.recipes import selector
from gateway.recipes.handshake import parse_text
from gateway.recipes.signed import value_of
from gateway.verdict import Handshaken, Refused
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.inbound import Inbound
    from gateway.problem import Headers
    from gateway.reading import Content
    from gateway.recipes.handshake import Digest, Handshake, Part, Visit

MAX_BODY: Final = 16 * 1024
"""Bytes of an unverified body that are looked into."""
MAX_VALUE: Final = 2048
_LEAST_SECRET: Final = 8
_MOST_SECRET: Final = 512
_MAX_RATE_DIGITS: Final = 9
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
_REQUEST_RATE: Final = b"webhook-request-rate"
HARMLESS: Final[Headers] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cache-control", b"no-store"),
)
_STATUS: Final = (b"tidemill-status", b"handshake")
_UNKNOWN: Final = Refused(400, "handshake_unknown", "This is no handshake that this source knows.")
_MALFORMED: Final = Refused(
    400, "handshake_malformed", "The handshake lacks a value, or has one that can't be sent back."
)
_TOKEN: Final = Refused(403, "handshake_token", "The handshake doesn't show a verify token of this source.")
_UNSET: Final = Refused(
    403,
    "handshake_unset",
    "This source isn't set up for the handshake: it needs a secret, a verify token or the public URL.",
)
TAKEN: Final = Refused(
    409,
    "handshake_taken",
    "This source has a secret already. Its operator can make it forget the one that it has learned.",
)
_VISIT: Final = Refused(
    403, "handshake_visit", "The handshake names an address that this source doesn't ask."
)


class Means(NamedTuple):
    """What a source has for its handshakes.

    Attributes:
        secrets: the active secrets.
        verify_tokens: the active verify tokens.
        public_url: under which the sender knows the gateway.
        rate: requests a minute that the source takes, None without a limit.
        learn: whether the first secret that the sender brings is taken.
    """

    secrets: Callable[[], Sequence[Secret]]
    verify_tokens: Callable[[], Sequence[Secret]]
    public_url: str | None = None
    rate: int | None = None
    learn: bool = False


class Handshaker:
    """Answers the handshakes of one source; compiled once.

    Attributes:
        methods: those besides POST in which handshakes come.
    """

    def __init__(self, handshakes: Sequence[Handshake], means: Means) -> None:
        compiled = [(one, _Compiled(one, means)) for one in handshakes]
        self._unsigned = [handshake for one, handshake in compiled if not one.signed]
        self._signed = [handshake for one, handshake in compiled if one.signed]
        self.methods = frozenset(one.method for one in handshakes) - {"POST"}

    def unsigned(
        self, inbound: Inbound, secrets: Sequence[Secret] | None = None
    ) -> Handshaken | Refused | None:
        """Answer a request before it is verified; None where it is a delivery.

        `secrets` count instead of the source's, where they are a tenant's.
        """
        outcome = _answer(self._unsigned, _Look(inbound, secrets=secrets)) if self._unsigned else None
        return _UNKNOWN if outcome is None and inbound.method != "POST" else outcome

    def signed(
        self, inbound: Inbound, content: Content, secrets: Sequence[Secret] | None = None
    ) -> Handshaken | Refused | None:
        """Answer a verified request; None where it is a delivery."""
        return _answer(self._signed, _Look(inbound, content, secrets)) if self._signed else None


def _answer(handshakes: Sequence[_Compiled], look: _Look) -> Handshaken | Refused | None:
    for handshake in handshakes:
        if handshake.matches(look):
            return handshake.answer(look)
    return None


class _Look:
    """Finds values in one request; its body is parsed when it is first looked into."""

    def __init__(
        self, inbound: Inbound, content: Content | None = None, secrets: Sequence[Secret] | None = None
    ) -> None:
        self.inbound = inbound
        self._secrets = secrets
        self._document = content.document if content else None
        self._form = (content.form or {}) if content else None
        self._parsed = content is not None

    def secrets(self, means: Means) -> Sequence[Secret]:
        """Return the tenant's secrets, or the source's."""
        return means.secrets() if self._secrets is None else self._secrets

    def find(self, found: selector.Selector) -> Any:
        """Return what a selector finds, `MISSING` where that is nothing."""
        if found.place == "body":
            return selector.find(self._body(), selector.path_of(found.name))
        if found.place == "form":
            return self._fields().get(found.name) or selector.MISSING
        value = value_of(found, self.inbound)
        try:
            return selector.MISSING if value is None else value.decode("utf-8")
        except UnicodeDecodeError:
            return selector.MISSING

    def text(self, found: selector.Selector) -> str | None:
        """Return what a selector finds as text that can be sent back, None where there is none."""
        text = selector.text_of(self.find(found))
        return text if text is not None and len(text) <= MAX_VALUE and text.isprintable() else None

    def _body(self) -> Any:
        if not self._parsed:
            self._parsed = True
            body = self.inbound.body
            try:
                self._document = strictjson.loads(body) if 0 < len(body) <= MAX_BODY else selector.MISSING
            except strictjson.UnsoundJsonError:
                self._document = selector.MISSING
        return self._document

    def _fields(self) -> dict[str, str]:
        if self._form is None:
            body = self.inbound.body
            fields = form_fields(body) if len(body) <= MAX_BODY else {}
            self._form = {} if isinstance(fields, Reason) else fields
        return self._form


class _Compiled:
    def __init__(self, handshake: Handshake, means: Means) -> None:
        self._handshake = handshake
        self._means = means
        wanted = [(selector.parse(text), value) for text, value in handshake.when.items()]
        self._wanted = sorted(wanted, key=lambda pair: pair[0].place in ("body", "form"))
        self._token = selector.parse(handshake.token) if handshake.token else None
        self._learn = selector.parse(handshake.learn) if handshake.learn else None
        self._visit = _Visits(handshake.visit) if handshake.visit else None
        self._digest = _Digests(handshake.digest) if handshake.digest else None
        answer = handshake.answer
        self._headers = [(name.encode(), parse_text(text)) for name, text in answer.headers.items()]
        self._body = _compiled_tree(answer.body)
        usual = _TEXT if isinstance(answer.body, str) else _JSON
        self._content_type = (answer.content_type or usual).encode()

    def matches(self, look: _Look) -> bool:
        """Say whether a request is this handshake."""
        one, inbound = self._handshake, look.inbound
        if inbound.method != one.method or (one.empty and inbound.body):
            return False
        return all(_holds(look.find(found), value) for found, value in self._wanted)

    def answer(self, look: _Look) -> Handshaken | Refused:
        """Answer it."""
        if self._token and not self._shows_token(look):
            return _TOKEN if self._means.verify_tokens() else _UNSET
        values = _Values(look, self._means, self._digest)
        body = _rendered(self._body, values)
        learn = look.text(self._learn) if self._learn else None
        if body is None or (self._learn and not _is_secret(learn)):
            return _UNSET if values.unset else _MALFORMED
        visit = self._visit.checked(look) if self._visit else None
        if self._visit and visit is None:
            return _VISIT
        headers = (*self._reflected(values), _STATUS, *HARMLESS)
        raw = body.encode() if isinstance(body, str) else orjson.dumps(body)
        answer = Answer(self._handshake.answer.status, self._content_type, raw, headers)
        shaken = Handshaken(self._handshake.name, answer, Secret(learn) if learn else None, visit)
        return shaken if shaken.learn is None else self._unless_known(shaken, shaken.learn, look)

    def _unless_known(self, shaken: Handshaken, secret: Secret, look: _Look) -> Handshaken | Refused:
        """Learn nothing where there is a secret: the same one again is answered, another one is refused."""
        active = look.secrets(self._means)
        if not active:
            return shaken if self._means.learn else _UNSET
        known = any([secret == one for one in active])  # noqa: C419 - all are compared
        return shaken._replace(learn=None) if known else TAKEN

    def _shows_token(self, look: _Look) -> bool:
        shown = (look.text(self._token) or "").encode() if self._token else b""
        tokens = [token.reveal().encode() for token in self._means.verify_tokens()]
        return any([hmac.compare_digest(shown, token) for token in tokens])  # noqa: C419 - all are compared

    def _reflected(self, values: _Values) -> Headers:
        rendered = ((name, values.text(parts)) for name, parts in self._headers)
        return tuple((name, text.encode()) for name, text in rendered if text and text.isascii())


def _holds(found: Any, wanted: bool | int | str) -> bool:  # noqa: FBT001 - one value of a table
    if type(wanted) is bool:
        return wanted is (found is not selector.MISSING and found not in (None, ""))
    return type(found) is type(wanted) and bool(found == wanted)


def _is_secret(text: str | None) -> bool:
    return text is not None and text.isascii() and _LEAST_SECRET <= len(text) <= _MOST_SECRET


class _Values:
    """The values of the holes of one answer."""

    def __init__(self, look: _Look, means: Means, digests: _Digests | None) -> None:
        self._look = look
        self._means = means
        self._digests = digests
        self.unset = False

    def secrets(self) -> Sequence[Secret]:
        """Return the secrets of whom the request is for."""
        return self._look.secrets(self._means)

    def text(self, parts: tuple[Part, ...]) -> str | None:
        """Render a text, None where a hole finds nothing."""
        pieces = [part if isinstance(part, str) else self._value(part) for part in parts]
        return None if None in pieces else "".join(piece for piece in pieces if piece)

    def _value(self, part: selector.Selector) -> str | None:
        if part.name:
            return self._look.text(part)
        if part.place == "rate":
            return self._rate()
        text = self._own(part.place)
        self.unset = self.unset or text is None
        return text

    def _own(self, word: str) -> str | None:
        """Return a value that comes from the settings."""
        if word == "digest":
            return self._digests.of(self) if self._digests else None
        if word == "verify_token":
            return next((token.reveal() for token in self._means.verify_tokens()), None)
        url = self._means.public_url
        return url.rstrip("/") + self._look.inbound.path if url else None

    def _rate(self) -> str | None:
        asked = (self._look.inbound.header(_REQUEST_RATE) or b"").decode("latin-1")
        if not (asked.isascii() and asked.isdigit()) or len(asked) > _MAX_RATE_DIGITS:
            return None
        return str(max(1, min(int(asked), self._means.rate or int(asked))))


class _Digests:
    """Computes what only the holder of the secret can."""

    def __init__(self, recipe: Digest) -> None:
        self._recipe = recipe
        self._of = parse_text(recipe.of)

    def of(self, values: _Values) -> str | None:
        """Return the digest, None where a value or the secret is missing."""
        text = values.text(self._of)
        if text is None:
            return None
        digest = self._digest(text.encode(), values.secrets())
        if digest is None:
            return None
        return digest.hex() if self._recipe.encoding == "hex" else b64encode(digest).decode()

    def _digest(self, content: bytes, secrets: Sequence[Secret]) -> bytes | None:
        recipe = self._recipe
        if recipe.scheme == "hash":
            return hashlib.new(recipe.algorithm, content).digest()
        key = next((secret.reveal().encode() for secret in secrets), b"")
        if not key:
            return None
        if recipe.key_hash:
            key = hashlib.new(recipe.key_hash, key).digest()
        return hmac.digest(key, content, recipe.algorithm)


class _Visits:
    """Says which addresses may be asked to confirm."""

    def __init__(self, recipe: Visit) -> None:
        self._url = selector.parse(recipe.url)
        hosts = (re.escape(host).replace(r"\*", "[a-z0-9-]+") for host in recipe.hosts)
        self._hosts = re.compile("|".join(hosts))

    def checked(self, look: _Look) -> str | None:
        """Return the address, None where it isn't one that may be asked."""
        url = look.text(self._url) or ""
        try:
            parts = urlsplit(url)
            usual = parts.port in (None, 443) and parts.username is None
        except ValueError:
            return None
        host = parts.hostname or ""
        sound = url.isascii() and " " not in url and "\\" not in url
        return url if parts.scheme == "https" and usual and sound and self._hosts.fullmatch(host) else None


def _compiled_tree(tree: Any) -> Any:
    """Compile the texts of a JSON value; a compiled text is a tuple, which JSON hasn't."""
    if isinstance(tree, str):
        return parse_text(tree)
    if isinstance(tree, dict):
        return {key: _compiled_tree(value) for key, value in tree.items()}
    return [_compiled_tree(value) for value in tree] if isinstance(tree, list) else tree


def _rendered(tree: Any, values: _Values) -> Any:
    """Render a compiled JSON value, None where a hole in it finds nothing."""
    if isinstance(tree, tuple):
        return values.text(tree)
    if isinstance(tree, dict):
        members = {key: _rendered(value, values) for key, value in tree.items()}
        return None if None in members.values() else members
    if isinstance(tree, list):
        items = [_rendered(value, values) for value in tree]
        return None if None in items else items
    return tree
