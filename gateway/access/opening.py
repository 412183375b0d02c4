"""From settings to the ways into the control listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.access.guard import Access
from gateway.access.oidc import Oidc
from gateway.access.proxy import Proxy
from gateway.access.seal import Seal
from gateway.access.sessions import Sessions
from tidemill.kernel.services.link_key import BROWSERS, make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.access.revocations import Revocations
    from gateway.clients import Clients
    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.settings.control import ApiKey
    from tidemill.kernel.settings.model import Settings


def open_access(
    settings: Settings,
    keys: Callable[[], Sequence[ApiKey]],
    secrets: Bucket,
    revoked: Revocations,
    clients: Clients,
) -> Access:
    """Return who may use the control listener.

    Args:
        settings: all of them.
        keys: the present API keys.
        secrets: where the installation's own key is kept.
        revoked: logins that ended early.
        clients: finds out which address a request comes from.

    Raises:
        SettingsError: a secret can't be resolved, or is too weak.
    """
    control = settings.control
    seal = Seal(lambda: make_key(secrets, BROWSERS))
    proxy = None
    if control.proxy is not None:
        shared = control.proxy.secret
        proxy = Proxy(control.proxy, shared.resolve(settings.inputs.environ) if shared is not None else None)
    return Access(control, keys, seal, clients, Sessions(seal, control, keys, revoked), proxy)


def open_oidc(settings: Settings) -> Oidc | None:
    """Return the identity provider's client, None where there is none.

    Raises:
        SettingsError: its secret can't be resolved.
    """
    control = settings.control
    if control.oidc is None or control.public_url is None:
        return None
    secret = control.oidc.client_secret
    resolved = secret.resolve(settings.inputs.environ) if secret is not None else None
    return Oidc(control.oidc, resolved, control.public_url)
