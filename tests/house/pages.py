"""Pages of the documentation, and the code that stands in them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

DOCS: Final = Path(__file__).parents[2] / "docs"


def read(name: str) -> str:
    """Return a page's text."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, language: str = "python") -> list[str]:
    """Return the blocks of code in a text that are of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def executed(name: str) -> dict[str, Any]:
    """Execute a page's Python, block by block, and return everything that it defines."""
    found: dict[str, Any] = {"__name__": "page"}
    for block in blocks(read(name)):
        exec(compile(block, f"docs/{name}", "exec", dont_inherit=True), found)
    return found


@contextmanager
def imported(name: str, folder: Path) -> Iterator[ModuleType]:
    """Import a page's Python as one module, from a file in the folder."""
    file = folder / f"{name.removesuffix('.md').replace('-', '_')}_page.py"
    file.write_text("\n".join(blocks(read(name))), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[file.stem]
