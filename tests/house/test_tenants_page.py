"""The page on tenants: its example is a task, and its condition decides as the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.api.tenants import TenantsApi
from tidemill.kernel.where import Filtered, Matched, compile_where

PAGE: Final = (Path(__file__).parents[2] / "docs/tenants.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def book() -> Any:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
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
