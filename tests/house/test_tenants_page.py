"""The page on tenants: its example is a task, and its condition decides as the page says."""

from __future__ import annotations

from typing import Any, Final

import pytest

from gateway.api.tenants import TenantsApi
from tests.house import pages
from tidemill.kernel.where import Filtered, Matched, compile_where

PAGE: Final = pages.read("tenants.md")


@pytest.fixture(scope="module")
def book() -> Any:
    (code,) = pages.blocks(PAGE)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/tenants.md", "exec", dont_inherit=True), names)
    return names["book"]


@pytest.mark.parametrize(("tenant", "taken"), [("eu-acme", True), ("us-acme", False), (None, False)])
def test_a_condition_sees_the_tenant(book: Any, tenant: str | None, taken: bool) -> None:  # noqa: FBT001 - a row of a table
    where = compile_where(book.definition.where)
    verdict = where.evaluate({}, "shop.orders.create", "shop/x", None, {}, tenant=tenant)
    assert isinstance(verdict, Matched if taken else Filtered)


def test_every_endpoint_stands_there() -> None:
    routes = TenantsApi(None, None).routes()  # type: ignore[arg-type] # only the paths are looked at
    methods = {(method, route.path) for route in routes for method in (route.methods or set()) - {"HEAD"}}
    assert len(methods) == 7
    assert [one for one in methods if f"| `{one[0]} {one[1]}" not in PAGE] == []
