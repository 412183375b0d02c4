"""Types of settings' values: sizes, durations, addresses, paths, lists and secrets as users write them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo

from tidemill.kernel.clock import LONGEST, seconds
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import FILE, SecretRef

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_SIZES: Final = {
    "": 1, "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_ANY_HOST: Final = ("0.0.0.0", "::")  # noqa: S104 - recognised here, bound nowhere
MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens. Port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def clashes(self, other: Address) -> bool:
        """Say whether both can't be listened on at the same time."""
        hosts = {self.host, other.host}
        return self.port == other.port != 0 and (len(hosts) == 1 or not hosts.isdisjoint(_ANY_HOST))


def parse_size(value: object) -> object:
    """Return bytes: a number is bytes, text is like `512KiB`, `1MiB`, `25MB`; else the value as it is.

    Raises:
        ValueError: the text is no size.
    """
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None or match[2].lower() not in _SIZES:
        raise ValueError("not a size: write bytes, or text like '512KiB', '1MiB', '25MB'")
    return int(Decimal(match[1]) * _SIZES[match[2].lower()])


def parse_duration(value: object) -> object:
    """Return seconds for text like `90s` or `24h`, else the value as it is.

    Raises:
        ValueError: the text is no duration.
    """
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        pass  # not a bare number, as every variable of the environment may be: it carries units
    try:
        return seconds(value)
    except SettingsError as error:
        raise ValueError(f"not a duration: {error.hint}") from error


def parse_address(value: object) -> object:
    """Return the address that text like `127.0.0.1:8080` or `[::1]:8080` names.

    Raises:
        ValueError: the text is no address.
    """
    if isinstance(value, Address):
        return value
    host, _, port = str(value).rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise ValueError("not an address: write host:port, like '127.0.0.1:8080'")
    return Address(host, int(port))


def parse_list(value: object) -> object:
    """Return a list from text: JSON where it begins with a bracket, else items between commas.

    Raises:
        ValueError: the text begins like JSON and is none.
    """
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("[", "{")):
        return parse_table(value)
    return [item.strip() for item in value.split(",") if item.strip()]


def parse_table(value: object) -> object:
    """Return a table from JSON text, else the value as it is.

    Raises:
        ValueError: the text is no JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error


def base_of(info: ValidationInfo) -> Path:
    """Return the folder that relative paths start from: the settings file's."""
    context: dict[str, Any] = info.context or {}
    return Path(context.get("base") or Path.cwd())


def parse_path(value: object, info: ValidationInfo) -> object:
    """Return an absolute path; a relative one starts from the settings file's folder."""
    return base_of(info) / Path(value).expanduser() if isinstance(value, str | Path) else value


def parse_secret(value: object, info: ValidationInfo) -> object:
    """Return the reference to a secret; a relative `file:` starts from the settings file's folder.

    Raises:
        ValueError: it is no text, or it is empty.
    """
    if isinstance(value, SecretRef):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("not a secret: write 'env:NAME', 'file:PATH' or the secret itself, as text")
    if value.startswith(FILE):
        value = f"{FILE}{base_of(info) / Path(value.removeprefix(FILE)).expanduser()}"
    return SecretRef(value)


def _shown(show: Callable[[Any], str]) -> PlainSerializer:
    return PlainSerializer(show, return_type=str)


def check_network(value: str) -> str:
    """Return a network as it is written.

    Raises:
        ValueError: it is none.
    """
    try:
        ip_network(value, strict=False)
    except ValueError as error:
        raise ValueError(
            f"not a network: write '10.0.0.0/8', '2001:db8::/32' or a single address ({error})"
        ) from error
    return value


ByteSize = Annotated[int, BeforeValidator(parse_size), Field(gt=0, lt=2**63)]
Seconds = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=LONGEST, allow_inf_nan=False)]
Listen = Annotated[Address, BeforeValidator(parse_address), _shown(str)]
PathValue = Annotated[Path, BeforeValidator(parse_path), _shown(str)]
SecretValue = Annotated[SecretRef, BeforeValidator(parse_secret), _shown(str)]
Listed = BeforeValidator(parse_list)
Networks = Annotated[tuple[Annotated[str, AfterValidator(check_network)], ...], Listed]
Table = BeforeValidator(parse_table)
