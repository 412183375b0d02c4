"""Finds the tasks of handler modules: `pkg.mod`, `pkg` with all below it, `file.py`, or `mod:task`.

Tasks that are *defined* in a named module are served; those that it imports from elsewhere are not.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tidemill.kernel.errors import DefinitionError, TidemillError
from tidemill.kernel.services.destinations import PREFIX
from tidemill.task import FnTask

AnyTask = FnTask[Any, Any, Any, Any]
_LIBRARIES: Final = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


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
    modules = _modules(target)
    if name:
        return [_task_called(name, next(modules), spec)]
    tasks = [task for module in modules for task in _defined_in(module)]
    if not tasks:
        raise DefinitionError(
            f"{spec} defines no task",
            hint="decorate a function with @task; tasks that are only imported there aren't served",
        )
    return tasks


def _task_called(name: str, module: ModuleType, spec: str) -> AnyTask:
    """Return a module's task by its name there, or by its id."""
    task = getattr(module, name, None)
    if isinstance(task, FnTask):
        return task
    known = {task.id: task for task in _defined_in(module)}
    if name not in known:
        hint = f"it defines {', '.join(known)}" if known else "it defines no task at all"
        raise DefinitionError(f"{spec}: there is no task {name!r} in {module.__name__}", hint=hint)
    return known[name]


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
        if not info.name.endswith(".__main__"):  # a script, which would run
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
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise DefinitionError(f"there is no file {path}", hint="give the path of a Python file")
    name, loaded = _module_name(path.resolve())
    if loaded is not None:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise DefinitionError(f"{path} is no Python file", hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[spec.name]
        if isinstance(error, TidemillError | KeyboardInterrupt):
            raise
        raise _broken(str(path), error) from error
    return module


def _module_name(path: Path) -> tuple[str, ModuleType | None]:
    """Return the name under which a file is imported, and the module where it has been imported already.

    That is the file's own name, unless another module has it: `queue.py` must not hide Python's `queue`.
    """
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    for name in (path.stem, f"{path.stem}_{digest}"):
        loaded = sys.modules.get(name)
        if loaded is not None and getattr(loaded, "__file__", None) == str(path):
            return name, loaded
        if loaded is None and name not in sys.stdlib_module_names:
            return name, None
    raise DefinitionError(f"{path} can't be imported: its name is taken", hint="give the file another name")


def _broken(name: str, error: BaseException) -> DefinitionError:
    """Say where in the user's code an import failed."""
    place = _place_of(error)
    return DefinitionError(
        f"{f'{place}: ' if place else ''}{name} doesn't import: {type(error).__name__}: {error}",
        hint=f"`python {name}` shows the whole traceback"
        if name.endswith(".py")
        else f"`python -c 'import {name}'` shows the whole traceback",
    )


def _place_of(error: BaseException) -> str:
    """Return file and line of an error: the last frame in the user's code, where there is one."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    machinery = ("<frozen", importlib.__file__.rpartition("/")[0], __file__)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(machinery)]
    theirs = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    last = (theirs or frames)[-1:]
    return "".join(f"{frame.filename}:{frame.lineno}" for frame in last)


def _check_unique(tasks: Sequence[AnyTask]) -> None:
    owners: dict[str, AnyTask] = {}
    for task in tasks:
        for name in (task.id, *task.definition.aliases):
            if name.startswith(PREFIX):
                raise DefinitionError(
                    f"{_place(task)}: {name!r} is the name of a destination's task",
                    hint=f"give the task an id that doesn't begin with {PREFIX!r}",
                )
            other = owners.setdefault(name, task)
            if other is not task:
                raise DefinitionError(
                    f"two tasks are called {name!r}: {_place(other)} and {_place(task)}",
                    hint="give one of them another id with @task(id=…)",
                )


def _place(task: AnyTask) -> str:
    return str(task.source_location)
