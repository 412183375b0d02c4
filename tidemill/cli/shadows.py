"""The product's packages with common names: are they really the product's?

`gateway` and `consumers` are imported by these names, and a `schemas` of another distribution would be
installed into the same folder. Whatever stands in their place is named before it can do harm.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tidemill.kernel.errors import DefinitionError

HOME: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("gateway", "consumers")
DATA: Final = "schemas"
MARKER: Final = "recipes"


def check_shadows(home: Path = HOME) -> None:
    """Check that the packages beside `tidemill` are those that would be imported.

    Args:
        home: the folder that the `tidemill` package stands in.

    Raises:
        DefinitionError: another module has one of their names, or one of them is missing.
    """
    for name in PACKAGES:
        _check_package(name, home)
    _check_data(home / DATA)


def _check_package(name: str, home: Path) -> None:
    spec = find_spec(name)
    origin = Path(spec.origin).resolve() if spec and spec.origin else None
    if origin == home / name / "__init__.py":
        return
    if origin is None:
        raise DefinitionError(f"the package {name} is missing beside {home / 'tidemill'}", hint=_REINSTALL)
    raise DefinitionError(
        f"{origin} shadows Tidemill's package {name!r}",
        hint="rename that module, or start from a folder without it",
    )


def _check_data(folder: Path) -> None:
    foreign = folder / "__init__.py"
    if foreign.exists():
        raise DefinitionError(
            f"{foreign} shadows Tidemill's folder {DATA!r}: another distribution was installed into it",
            hint="install that distribution into an environment of its own, and tidemill again",
        )
    if not (folder / MARKER).is_dir():
        raise DefinitionError(f"the folder {folder} holds no {MARKER}", hint=_REINSTALL)


_REINSTALL: Final = "the installation is incomplete: install tidemill again"
