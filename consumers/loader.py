"""Finds the tasks of handler modules: `pkg.mod`, `pkg` with all below it, `file.py`, or `mod:task`.

Tasks that are *defined* in a named module are served; those that it imports from elsewhere are not.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tidemill.kernel.errors import DefinitionError, TidemillError
from tidemill.task import FnTask

AnyTask = FnTask[Any, Any, Any, Any]


def load(specs: Sequence[str]) -> list[AnyTask]:
    """Import handler modules and return their tasks, in the order of their ids.

    Raises:
        DefinitionError: a module doesn't import, holds no task, or two tasks claim the same id.
    """
    found: dict[int, AnyTask] = {}
    for spec in specs:
        for task in _tasks_of(spec):
            found[id(task)] = task
    tasks = sorted(found.values(), key=lambda task: task.id)
    _check_unique(tasks)
    return tasks


def _tasks_of(spec: str) -> list[AnyTask]:
    target, _, name = spec.partition(":")
    modules = list(_modules(target))
    if name:
        task = getattr(modules[0], name, None)
        if not isinstance(task, FnTask):
            raise DefinitionError(f"{spec}: there is no task {name!r} in {target}", hint=_known(modules))
        return [task]
    tasks = [task for module in modules for task in _defined_in(module)]
    if not tasks:
        raise DefinitionError(
            f"{spec} defines no task",
            hint="decorate a function with @task; tasks that are only imported there aren't served",
        )
    return tasks


def _known(modules: Iterable[ModuleType]) -> str:
    names = [f"{task.id}" for module in modules for task in _defined_in(module)]
    return f"it defines {', '.join(names)}" if names else "it defines no task at all"


def _defined_in(module: ModuleType) -> Iterator[AnyTask]:
    for value in vars(module).values():
        if isinstance(value, FnTask) and value.__module__ == module.__name__:
            yield value


def _modules(target: str) -> Iterator[ModuleType]:
    if target.endswith(".py") or "/" in target:
        yield _import_file(Path(target))
        return
    module = _import(target)
    yield module
    for info in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{module.__name__}."):
        yield _import(info.name)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise DefinitionError(
                f"there is no module {name!r}",
                hint="name a module that can be imported from the working directory, or a path to a .py file",
            ) from error
        raise _broken(name, error) from error
    except TidemillError:
        raise
    except Exception as error:
        raise _broken(name, error) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise DefinitionError(f"there is no file {path}", hint="give the path of a Python file")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise DefinitionError(f"{path} is no Python file", hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except TidemillError:
        raise
    except Exception as error:
        raise _broken(str(path), error) from error
    return module


def _broken(name: str, error: Exception) -> DefinitionError:
    """Say where in the user's code an import failed: its last frame outside of the import machinery."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    place = ""
    if isinstance(error, SyntaxError):
        place = f" in {error.filename}, line {error.lineno}"
    elif frames and frames[-1].filename != __file__:
        place = f" in {frames[-1].filename}, line {frames[-1].lineno}"
    return DefinitionError(
        f"{name} doesn't import: {type(error).__name__}: {error}{place}",
        hint="python -c 'import …' shows the whole traceback",
    )


def _check_unique(tasks: Sequence[AnyTask]) -> None:
    owners: dict[str, AnyTask] = {}
    for task in tasks:
        for name in (task.id, *task.definition.aliases):
            other = owners.setdefault(name, task)
            if other is not task:
                raise DefinitionError(
                    f"two tasks are called {name!r}: {_place(other)} and {_place(task)}",
                    hint="give one of them another id with @task(id=…)",
                )


def _place(task: AnyTask) -> str:
    return str(task.source_location)
