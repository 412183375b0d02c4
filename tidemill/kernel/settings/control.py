"""The section of the private listener: where it is, and who may use it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tidemill.kernel.settings.keys import HASH_PATTERN
from tidemill.kernel.settings.sections import HttpUrl, Section
from tidemill.kernel.settings.values import Address, Listed, Listen, Seconds, SecretValue, Table

AccessRole = Literal["viewer", "operator", "approver", "admin"]
Claim = Annotated[str, Field(min_length=1)]
Roles = Annotated[dict[str, AccessRole], Field(min_length=1), Table]


def _renamed(role: object) -> object:
    return "viewer" if role == "read" else role


class ApiKey(Section):
    """An API key of the control listener, stored as a hash."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    """Who uses the key: what they do is done in this name."""
    hash: Annotated[str, Field(pattern=f"^{HASH_PATTERN.pattern}$")]
    """The key's hash: `sha256:` and 64 hexadecimal digits."""
    role: Annotated[AccessRole, BeforeValidator(_renamed)] = "admin"
    """`viewer`, `operator`, `approver` or `admin`; `read` is another word for `viewer`."""
    on_behalf: bool = False
    """Whether it may answer tokens and approvals in other people's names, as a chat bot does."""


class OidcSettings(Section):
    """Logins at an identity provider, with OpenID Connect."""

    issuer: HttpUrl
    """The provider's address, below which `/.well-known/openid-configuration` lies."""
    client_id: Annotated[str, Field(min_length=1)]
    """Tidemill's name at the provider."""
    client_secret: SecretValue | None = None
    """What Tidemill proves itself with at the provider; none for a public client."""
    name: Annotated[str, Field(min_length=1, max_length=64)] = "single sign-on"
    """What the login page calls the provider."""
    scopes: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Listed] = (
        "openid",
        "profile",
        "email",
    )
    """What is asked for; some providers want one more for groups."""
    name_claim: Claim = "email"
    """The claim that says who somebody is; an e-mail address that isn't verified counts for nothing."""
    roles_claim: Claim = "groups"
    """The claim that is looked up in `roles`: a text or a list, `a.b` for `b` inside of `a`."""
    roles: Roles
    """Roles by the claim's values, like `{ "tide-ops" = "operator" }`; `*` is everybody who can log in."""


class ProxySettings(Section):
    """Identities from a reverse proxy that signs a JSON Web Token into each request."""

    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
    """The header that holds the token, like `Cf-Access-Jwt-Assertion`."""
    audience: Annotated[str, Field(min_length=1)]
    """The `aud` that the token must name."""
    issuer: Annotated[str, Field(min_length=1)] | None = None
    """The `iss` that the token must name; any where it is missing."""
    secret: SecretValue | None = None
    """The secret of tokens that are signed with HMAC, at least 32 bytes."""
    jwks_url: HttpUrl | None = None
    """Where the keys are of tokens that are signed with a private key."""
    name_claim: Claim = "email"
    """The claim that says who somebody is."""
    roles_claim: Claim = "groups"
    """The claim that is looked up in `roles`, as for `control.oidc`."""
    roles: Roles
    """Roles by the claim's values; `*` is everybody whom the proxy lets through."""


class ControlSettings(Section):
    """The private listener: control API, dashboard and metrics."""

    listen: Listen = Address("127.0.0.1", 8081)
    """Address of the private listener."""
    public_url: HttpUrl | None = None
    """URL under which browsers reach the private listener; with `https` cookies are for `https` alone."""
    keys: Annotated[tuple[ApiKey, ...], Listed] = ()
    """API keys; without one, `oidc` or `proxy` only this machine is served."""
    session: Annotated[Seconds, Field(ge=60, le=30 * 86400)] = 12 * 3600.0
    """How long a login in a browser lasts."""
    oidc: OidcSettings | None = None
    """Logins at an identity provider: a table with the keys below."""
    proxy: ProxySettings | None = None
    """Identities from a reverse proxy: a table with the keys below."""

    @property
    def guarded(self) -> bool:
        """Whether there is any way to log in."""
        return bool(self.keys) or self.oidc is not None or self.proxy is not None

    @property
    def logins(self) -> bool:
        """Whether there is a login page: a proxy logs in by itself."""
        return bool(self.keys) or self.oidc is not None
