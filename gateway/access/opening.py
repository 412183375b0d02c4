"""From settings to the ways into the control listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.access.guard import Access
from gateway.access.oidc import Oidc
from gateway.access.proxy import Proxy
from gateway.access.seal import Seal
from gateway.access.sessions import Sessions
from gateway.clients import Clients
from gateway.keys.https import HttpsFetch
from tidemill.kernel.services.audit import Audit
from tidemill.kernel.services.link_key import BROWSERS, make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.access.revocations import Revocations
    from gateway.keys.store import KeyStore
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.control import ApiKey
    from tidemill.kernel.settings.model import Settings


def open_access(
    settings: Settings,
    keys: Callable[[], Sequence[ApiKey]],
    broker: Broker,
    revoked: Revocations,
    published: KeyStore,
) -> Access:
    """Return who may use the control listener.

    Args:
        settings: all of them.
        keys: the present API keys.
        broker: where the installation's own key is kept, and the record of changes.
        revoked: logins that ended early.
        published: keys that are fetched.

    Raises:
        SettingsError: a secret can't be resolved, or is too weak.
    """
    control = settings.control
    seal = Seal(lambda: make_key(broker.secrets, BROWSERS))
    proxy = None
    if control.proxy is not None:
        shared = control.proxy.secret
        secret = shared.resolve(settings.inputs.environ) if shared is not None else None
        proxy = Proxy(control.proxy, secret, store=published)
    clients, sessions = Clients(settings.gateway.trusted_proxies), Sessions(seal, control, keys, revoked)
    return Access(control, keys, seal, clients, sessions, Audit(broker.bus), proxy)


def open_oidc(settings: Settings, published: KeyStore) -> Oidc | None:
    """Return the identity provider's client, None where there is none.

    Args:
        settings: all of them.
        published: keys that are fetched.

    Raises:
        SettingsError: its secret can't be resolved.
    """
    control = settings.control
    if control.oidc is None or control.public_url is None:
        return None
    secret = control.oidc.client_secret
    resolved = secret.resolve(settings.inputs.environ) if secret is not None else None
    fetch = HttpsFetch(egress=settings.way_out())
    return Oidc(control.oidc, resolved, control.public_url, fetch=fetch, store=published)
