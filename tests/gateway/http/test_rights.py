"""Every route of the control listener, for every role: the table decides, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.routing import Route

from gateway.access.authorised import Authorised
from gateway.access.identity import RIGHTS, Right
from gateway.access.table import TABLE, right_of
from tidemill.history.database import locate, open_database
from tidemill.kernel.settings.control import AccessRole
from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import BrokerProcess

    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration

EXPECTED: dict[AccessRole, set[Right]] = {
    "viewer": {Right.READ},
    "operator": {Right.READ, Right.OPERATE},
    "approver": {Right.READ, Right.APPROVE},
    "admin": {Right.READ, Right.OPERATE, Right.APPROVE, Right.ADMINISTER},
}
STATUSES = {"login", "role", "csrf", "api-key"}


def application_of(house: Any) -> Any:
    found = house.gateway._listeners["control"].config.app
    while not hasattr(found, "routes"):
        found = getattr(found, "app", None) or found._app
    return found


def served(house: Any) -> Iterator[tuple[str, str]]:
    for route in application_of(house).routes:
        assert isinstance(route, Route)
        for method in sorted(route.methods or ()):
            yield method, route.path


def test_roles_have_their_rights_and_no_more() -> None:
    assert {role: set(rights) - {Right.OPEN} for role, rights in RIGHTS.items()} == EXPECTED


async def test_every_route_stands_in_the_table_and_every_line_is_a_route(house: Any) -> None:
    routes = {(method, path) for method, path in served(house) if method != "HEAD"}
    assert routes - set(TABLE) == set(), "say in gateway/access/table.py who may do this"
    assert set(TABLE) - routes == set(), "there is no such route any more"


async def test_every_route_is_behind_its_right(house: Any) -> None:
    for route in application_of(house).routes:
        assert isinstance(route.app, Authorised)
        assert route.app.path == route.path


async def test_every_role_gets_through_to_what_it_may_and_to_nothing_else(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    keys = {role: create_key() for role in EXPECTED}
    listed = [
        f'{{ name = "{role}", hash = "{hash_key(key)}", role = "{role}" }}' for role, key in keys.items()
    ]
    settings = settled(broker.url, names, control=f"keys = [{', '.join(listed)}]\n")
    async with housed(settings) as house:
        open_database(locate(settings)).close()  # without a history pages and API say 503
        base, wrong = house.control.removesuffix("/api/v1"), []
        for method, path in served(house):
            url = base + path.replace("{", "").replace("}", "").replace(":path", "")
            right = right_of(method, path)
            url += "?seconds=1" if path.endswith("/live") else ""
            for role in (None, *EXPECTED):
                headers = {} if role is None else {"authorization": f"Bearer {keys[role]}"}
                reply = await house.client.request(method, url, headers=headers)
                through = not (reply.status_code in (401, 403) and kind_of(reply) in STATUSES - {"csrf"})
                allowed = right is Right.OPEN or (role is not None and right in EXPECTED[role])
                if through != allowed or reply.status_code >= 500:
                    wrong.append((method, path, role, reply.status_code))
        assert wrong == []


def kind_of(reply: httpx.Response) -> str:
    if reply.request.method == "HEAD":
        return "role" if reply.status_code == 403 else "login"
    if not reply.headers.get("content-type", "").startswith("application/problem+json"):
        return ""
    return str(reply.json()["type"]).rpartition(":")[2]
