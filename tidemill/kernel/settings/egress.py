"""The settings of the way out: proxies towards hosts elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator

from tidemill.kernel.egress import Egress, Proxy
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import ENVIRONMENT, FILE, SecretRef
from tidemill.kernel.settings.sections import Section
from tidemill.kernel.settings.values import Listed, SecretValue

if TYPE_CHECKING:
    from collections.abc import Mapping

NONE: Final = "none"
_SCHEMES: Final = ("http", "https")
_VARIABLES: Final = {
    "http": ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"),
    "https": ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
}


def _check_proxy(value: SecretRef) -> SecretRef:
    if value.text != NONE and not value.text.startswith((ENVIRONMENT, FILE)):
        Proxy.parse(value.text)
    return value


class EgressSettings(Section):
    """How hosts elsewhere are reached: key servers, identity providers, destinations, confirmations."""

    proxy: Annotated[SecretValue, AfterValidator(_check_proxy)] | None = None
    """An HTTP proxy, `http://[USER:PASSWORD@]HOST:PORT`, or `none`; else `HTTPS_PROXY` and `HTTP_PROXY`."""
    no_proxy: Annotated[tuple[str, ...], Listed] | None = None
    """What is reached without it: names with all below them, addresses, networks; else `NO_PROXY`."""
    names: Literal["here", "proxy"] = "here"
    """Who looks names up: `here`, where addresses are judged before the proxy is told them, or the proxy."""

    def resolve(self, environ: Mapping[str, str]) -> Egress:
        """Return how hosts are reached.

        Raises:
            SettingsError: the address of a proxy can't be resolved, or is none.
        """
        excepted = self.no_proxy
        if excepted is None:
            excepted = tuple((environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(","))
        named = {scheme: self._named(scheme, environ) for scheme in _SCHEMES}
        proxies = tuple((scheme, _proxy(*found)) for scheme, found in named.items() if found is not None)
        return Egress(proxies, excepted, self.names == "proxy")

    def _named(self, scheme: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
        """Return the address of a scheme's proxy, and where it stands; None where there is none."""
        if self.proxy is not None:
            text = self.proxy.resolve(environ).reveal()
            return None if text == NONE else (text, "egress.proxy")
        return next(((environ[name], name) for name in _VARIABLES[scheme] if environ.get(name)), None)


def _proxy(text: str, where: str) -> Proxy:
    try:
        return Proxy.parse(text.strip())
    except ValueError as error:
        raise SettingsError(
            f"{where}: {error}", hint='egress.proxy = "none" leaves variables of the environment alone'
        ) from None
