"""The one table of who may do what: every route of the control listener with the right that it takes.

A route that isn't listed is for administrators alone, and fails a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.access.identity import Right

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ: Final = (
    "/",
    "/alerts",
    "/approvals",
    "/approvals/{id:path}",
    "/bulk/{token}",
    "/dead",
    "/deliveries",
    "/events",
    "/events/{id:path}",
    "/quarantine",
    "/quarantine/{key:path}",
    "/dead/{key}",
    "/dry-run",
    "/errors",
    "/errors/{fingerprint}",
    "/live",
    "/runs",
    "/runs/{run}",
    "/runs/{run}/{body}/raw",
    "/schedules",
    "/schedules/{schedule}",
    "/tasks",
    "/tasks/{task}",
    "/test",
    "/workers",
    "/metrics",
    "/openapi.json",
    "/api/v1/bulk/{token}",
    "/api/v1/alerts",
    "/api/v1/dead",
    "/api/v1/dead/{key}",
    "/api/v1/deliveries",
    "/api/v1/deliveries/stream",
    "/api/v1/deliveries/{id:path}",
    "/api/v1/destinations",
    "/api/v1/events",
    "/api/v1/events/{id:path}",
    "/api/v1/history/errors",
    "/api/v1/history/errors/{fingerprint}",
    "/api/v1/history/rates",
    "/api/v1/history/runs",
    "/api/v1/history/runs/{run}",
    "/api/v1/history/runs/{run}/lineage",
    "/api/v1/history/totals",
    "/api/v1/live",
    "/api/v1/overrides",
    "/api/v1/pulse",
    "/api/v1/quarantine",
    "/api/v1/quarantine/{id:path}",
    "/api/v1/records",
    "/api/v1/runs",
    "/api/v1/runs/{run}",
    "/api/v1/runs/{run}/logs",
    "/api/v1/schedules",
    "/api/v1/schedules/{schedule}",
    "/api/v1/sources/{source}/tenants",
    "/api/v1/sources/{source}/tenants/{tenant}/secrets",
    "/api/v1/tasks",
    "/api/v1/tasks/{task}",
    "/api/v1/tokens",
    "/api/v1/tokens/{id:path}",
    "/api/v1/workers",
)
STATIC: Final = "/static/"
"""What lies below it is open: the login page needs it."""

TABLE: Final[Mapping[tuple[str, str], Right]] = {
    ("GET", "/healthz"): Right.OPEN,
    ("GET", "/readyz"): Right.OPEN,
    ("GET", "/static/{hash}/{name:path}"): Right.OPEN,
    ("GET", "/login"): Right.OPEN,
    ("POST", "/login"): Right.OPEN,
    ("GET", "/login/oidc"): Right.OPEN,
    ("GET", "/login/callback"): Right.OPEN,
    ("POST", "/logout"): Right.READ,
    ("GET", "/api/v1/audit"): Right.ADMINISTER,
    ("DELETE", "/api/v1/logins/{name:path}"): Right.ADMINISTER,
    **{("GET", path): Right.READ for path in _READ},
    ("POST", "/theme"): Right.READ,
    ("POST", "/dry-run"): Right.READ,
    ("POST", "/api/v1/dry-run"): Right.READ,
    ("POST", "/alerts/silences"): Right.OPERATE,
    ("POST", "/alerts/silences/{id}/end"): Right.OPERATE,
    ("POST", "/alerts/channels/{channel}/test"): Right.OPERATE,
    ("POST", "/approvals/{id:path}"): Right.APPROVE,
    ("POST", "/bulk"): Right.OPERATE,
    ("POST", "/bulk/{token}/execute"): Right.OPERATE,
    ("POST", "/dead/{key}/retry"): Right.OPERATE,
    ("POST", "/events/{id:path}/replay"): Right.OPERATE,
    ("POST", "/quarantine/{key:path}/release"): Right.OPERATE,
    ("POST", "/errors/{fingerprint}/mark"): Right.OPERATE,
    ("POST", "/runs/{run}/cancel"): Right.OPERATE,
    ("GET", "/runs/{run}/replay"): Right.OPERATE,
    ("POST", "/runs/{run}/replay"): Right.OPERATE,
    ("POST", "/runs/{run}/retry"): Right.OPERATE,
    ("POST", "/schedules/{schedule}/pause"): Right.OPERATE,
    ("POST", "/schedules/{schedule}/resume"): Right.OPERATE,
    ("POST", "/schedules/{schedule}/trigger"): Right.OPERATE,
    ("POST", "/test/send"): Right.OPERATE,
    ("POST", "/test/trigger"): Right.OPERATE,
    ("POST", "/api/v1/bulk"): Right.OPERATE,
    ("POST", "/api/v1/bulk/{token}/execute"): Right.OPERATE,
    ("POST", "/api/v1/alerts/silences"): Right.OPERATE,
    ("DELETE", "/api/v1/alerts/silences/{id}"): Right.OPERATE,
    ("POST", "/api/v1/alerts/channels/{channel}/test"): Right.OPERATE,
    ("POST", "/api/v1/dead/{key}/retry"): Right.OPERATE,
    ("POST", "/api/v1/deliveries/reverify"): Right.OPERATE,
    ("POST", "/api/v1/deliveries/{id:path}/replay"): Right.OPERATE,
    ("POST", "/api/v1/destinations/{name}/enable"): Right.OPERATE,
    ("POST", "/api/v1/events/{id:path}/replay"): Right.OPERATE,
    ("POST", "/api/v1/history/errors/{fingerprint}/mark"): Right.OPERATE,
    ("POST", "/api/v1/quarantine/{id:path}/release"): Right.OPERATE,
    ("POST", "/api/v1/runs/{run}/cancel"): Right.OPERATE,
    ("POST", "/api/v1/runs/{run}/replay"): Right.OPERATE,
    ("POST", "/api/v1/runs/{run}/retry"): Right.OPERATE,
    ("POST", "/api/v1/runs/{run}/signals/{name:path}"): Right.OPERATE,
    ("POST", "/api/v1/schedules/{schedule}/pause"): Right.OPERATE,
    ("POST", "/api/v1/schedules/{schedule}/resume"): Right.OPERATE,
    ("POST", "/api/v1/schedules/{schedule}/trigger"): Right.OPERATE,
    ("POST", "/api/v1/sources/{source}/send"): Right.OPERATE,
    ("POST", "/api/v1/tasks/{task}/trigger"): Right.OPERATE,
    ("POST", "/api/v1/tasks/{task}/pause"): Right.OPERATE,
    ("POST", "/api/v1/tasks/{task}/resume"): Right.OPERATE,
    ("POST", "/api/v1/tasks/{task}/limit"): Right.OPERATE,
    ("POST", "/tasks/{task}/pause"): Right.OPERATE,
    ("POST", "/tasks/{task}/resume"): Right.OPERATE,
    ("POST", "/tasks/{task}/limit"): Right.OPERATE,
    ("POST", "/api/v1/tokens/{id:path}/complete"): Right.APPROVE,
    ("DELETE", "/api/v1/tasks/{task}"): Right.ADMINISTER,
    ("DELETE", "/api/v1/sources/{source}/secret"): Right.ADMINISTER,
    ("POST", "/api/v1/sources/{source}/secret/reveal"): Right.ADMINISTER,
    ("DELETE", "/api/v1/sources/{source}/tenants/{tenant}"): Right.ADMINISTER,
    ("POST", "/api/v1/sources/{source}/tenants/{tenant}/secrets"): Right.ADMINISTER,
    ("POST", "/api/v1/sources/{source}/tenants/{tenant}/secrets/rotate"): Right.ADMINISTER,
    ("DELETE", "/api/v1/sources/{source}/tenants/{tenant}/secrets/{id}"): Right.ADMINISTER,
    ("POST", "/api/v1/secrets/rewrap"): Right.ADMINISTER,
}

_OPEN: Final = frozenset(path for (_, path), right in TABLE.items() if right is Right.OPEN)


def right_of(method: str, path: str) -> Right:
    """Return the right that a route takes, by its method and its path as it is written in the route."""
    return TABLE.get(("GET" if method == "HEAD" else method, path), Right.ADMINISTER)


def is_open(path: str) -> bool:
    """Say whether a request's path takes no login."""
    return path in _OPEN or path.startswith(STATIC)
