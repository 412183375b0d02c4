"""The house's rules about its own source: sizes, and who may import whom.

import-linter checks the floors too, over the modules that its lists name; what stands here holds for
every module, listed or not.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("tidemill", "gateway", "consumers")
MAX_FILE: Final = 400
MAX_FUNCTION: Final = 60
MAX_MEDIAN: Final = 10
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    def imports(self) -> set[str]:
        """Return the modules that it imports, wherever in the file."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        return found

    def functions(self) -> Iterator[Function]:
        """Yield every function and method."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node


@cache
def modules() -> tuple[Module, ...]:
    """Return every module of the product."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple(_module(path) for path in paths)


def _module(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return Module(dotted, path, text, ast.parse(text))


def in_room(module: Module, *rooms: str) -> bool:
    return any(module.name == room or module.name.startswith(f"{room}.") for room in rooms)


def violations(importers: Sequence[str], forbidden: Sequence[str], but: Sequence[str] = ()) -> list[str]:
    """Return `module -> import` for every import by the importers' rooms that is forbidden to them."""
    return [
        f"{module.name} -> {name}"
        for module in modules()
        if in_room(module, *importers) and not in_room(module, *but)
        for name in sorted(module.imports())
        if any(name == room or name.startswith(f"{room}.") for room in forbidden)
    ]


def pure_kernel() -> tuple[str, ...]:
    """Return the rooms of the kernel that do no I/O, from the floors that import-linter reads."""
    config: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = config["tool"]["importlinter"]["contracts"]
    (floors,) = (c["layers"] for c in contracts if c.get("containers") == ["tidemill.kernel"])
    assert floors[:2] == ["services", "jetstream"]
    return tuple(f"tidemill.kernel.{room}" for floor in floors[2:] for room in floor.split(" : "))


def reached(module: Module) -> set[str]:
    """Return everything that a module imports, directly or through other modules of the product."""
    known = {other.name: other for other in modules()}
    found: set[str] = set()
    waiting = [module.name]
    while waiting:
        for name in known[waiting.pop()].imports() - found:
            found.add(name)
            if name in known:
                waiting.append(name)
    return found


def test_there_is_something_to_look_at() -> None:
    assert {module.name for module in modules()} > {
        "tidemill.kernel.settings.model",
        "tidemill.cli.main",
        "gateway",
    }


def test_files_are_short() -> None:
    lengths = {module.name: module.text.count("\n") for module in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE} == {}


def length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_functions_are_short() -> None:
    found = {f"{m.name}.{f.name}": length(f) for m in modules() for f in m.functions()}
    assert {name: lines for name, lines in found.items() if lines > MAX_FUNCTION} == {}


def test_most_functions_are_very_short() -> None:
    assert median(length(function) for module in modules() for function in module.functions()) < MAX_MEDIAN


@pytest.mark.parametrize(
    ("importers", "forbidden"),
    [
        (("tidemill.kernel",), ("gateway", "consumers", "tidemill.cli", "tidemill.task", "tidemill.client")),
        (("tidemill",), ("starlette",)),
        (("consumers",), ("starlette", "gateway", "tidemill.cli")),
        (("gateway",), ("consumers", "tidemill.cli")),
    ],
)
def test_floors(importers: tuple[str, ...], forbidden: tuple[str, ...]) -> None:
    but = ("tidemill.cli",) if importers == ("tidemill",) else ()
    assert violations(importers, forbidden, but) == []


def test_the_sdk_imports_no_room_above_it() -> None:
    assert violations(("tidemill",), ("gateway", "consumers", "tidemill.cli"), but=("tidemill.cli",)) == []


def test_only_the_kernel_speaks_nats() -> None:
    assert violations(PACKAGES, ("nats",), but=("tidemill.kernel",)) == []


def test_the_pure_kernel_never_reaches_the_broker() -> None:
    pure = [module for module in modules() if in_room(module, *pure_kernel())]
    assert len(pure) > 10
    assert [
        module.name for module in pure if any(name.split(".")[0] == "nats" for name in reached(module))
    ] == []


def test_inside_the_house_nobody_imports_the_package_root() -> None:
    submodules = {module.name for module in modules()}
    handlers = ("tidemill.cli.demo.tasks",)  # written as a user would write them

    def root_names(module: Module) -> set[str]:
        return {
            f"tidemill.{alias.name}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ImportFrom) and node.module == "tidemill"
            for alias in node.names
        }

    assert [m.name for m in modules() if root_names(m) - submodules and m.name not in handlers] == []


def test_only_settings_read_the_environment() -> None:
    readers = [m.name for m in modules() if "os.environ" in m.text or "getenv" in m.text]
    assert readers == ["tidemill.kernel.settings.model"]


def test_nothing_is_left_for_later() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error")
    assert [m.name for m in modules() if any(word in m.text for word in words)] == []
