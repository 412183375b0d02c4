"""The doctor's checks of what encrypts secrets on the broker, and of what is encrypted there."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from tidemill.cli.finding import Finding, Findings, ok, problem, warning
from tidemill.kernel.errors import PayloadError, SettingsError
from tidemill.kernel.services.data_keys import KeyFile
from tidemill.kernel.services.learned import key_of
from tidemill.kernel.services.tenant_record import decode
from tidemill.kernel.services.vault import Vault

if TYPE_CHECKING:
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.model import Settings

RECORDS: Final = "encryption"
_KEY: Final = "secret-key"
_PLAIN: Final = ""


def keys(settings: Settings) -> Findings:
    """Say where the keys come from that encrypt secrets of tenants, and those that senders brought."""
    file = KeyFile(settings.nats.data_dir)
    try:
        vault, generated = Vault.of(settings), file.load()
    except SettingsError as error:
        yield problem(_KEY, error.sentence, error.hint)
        return
    if vault.configured:
        yield ok(_KEY, f"{', '.join(vault.configured)} of gateway.secret_key; the first encrypts")
    elif generated is None:
        yield ok(_KEY, f"none is set; {file} is made when the first secret is kept")
    elif settings.nats.embedded:
        yield ok(_KEY, f"{generated.id}, generated, in {file}: back it up")
    else:
        hint = "set gateway.secret_key, and keep it where other secrets are"
        yield warning(_KEY, f"{generated.id} is generated, in {file}: only this machine has it", hint)


async def records(settings: Settings, opened: Broker) -> AsyncIterator[Finding]:
    """Say which secrets on the broker can't be decrypted here, or aren't encrypted."""
    vault = Vault.of(settings)
    used: Counter[str] = Counter(
        key_of(stored) for name, stored in (await opened.secrets.items()).items() if "." not in name
    )
    tenants = await opened.tenants.items()
    for name, stored in tenants.items():
        try:
            used.update(str(entry.box.get("key", "?")) for entry in decode(name, stored))
        except PayloadError as error:
            yield problem(RECORDS, error.sentence, error.hint)
    missing = [key for key in used if key != _PLAIN and not vault.has(key)]
    for key in missing:
        hint = "add that key to gateway.secret_key; what it encrypted is answered 503 meanwhile"
        yield problem(RECORDS, f"{used[key]} secrets need the key {key}, which isn't here", hint)
    if used[_PLAIN]:
        hint = "'tidemill keys rewrap' encrypts them"
        yield warning(RECORDS, f"{used[_PLAIN]} learned secrets aren't encrypted", hint)
    if not missing and not used[_PLAIN]:
        yield ok(RECORDS, f"{used.total()} secrets, {len(tenants)} tenants")
