"""What may be told of a configured source; never what its secrets are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidemill.kernel import clock
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.settings.sections import SourceSecret


def webhook_address(settings: Settings, name: str) -> str:
    """Return where a source's provider posts to, as far as the settings know."""
    base = settings.gateway.public_url or f"http://{settings.gateway.listen}"
    return f"{base.rstrip('/')}/webhooks/{name}"


def secret_facts(settings: Settings, secret: SourceSecret) -> dict[str, Any]:
    """Return where a secret stands, and whether it can be used.

    `state` is active, expired, or unusable and why. `changed` is when the file that it stands in was last
    written, in seconds since the epoch; None where it stands elsewhere.
    """
    state = "active" if secret.active(clock.now()) else "expired"
    try:
        secret.value.resolve(settings.inputs.environ)
    except SettingsError as error:
        state = f"unusable: {error.sentence}"
    return {"value": str(secret.value), "until": secret.until, "state": state, "changed": _changed(secret)}


def _changed(secret: SourceSecret) -> float | None:
    try:
        return secret.value.path.stat().st_mtime if secret.value.path is not None else None
    except OSError:
        return None
