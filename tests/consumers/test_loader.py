"""Handler modules: found by name, package, path and task; what is wrong with them is said with its place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.loader import load
from tidemill.kernel.errors import DefinitionError

TASK = "from tidemill import task\n\n@task\nasync def {0}() -> None: ...\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that is importable; what was imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tasks", raising=False)  # another test's
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_tasks_are_found_in_modules_packages_files_and_by_name(folder: Path) -> None:
    _write(
        folder,
        {
            "shop/__init__.py": TASK.format("root_task"),
            "shop/mail.py": TASK.format("send") + "\n@task(id='renamed')\ndef other() -> None: ...\n",
            "shop/deep/__init__.py": "",
            "shop/deep/more.py": TASK.format("deepest"),
            "shop/__main__.py": "raise SystemExit('a script')\n",
        },
    )
    assert [task.id for task in load(["shop"])] == ["deepest", "renamed", "root_task", "send"]
    assert [task.id for task in load(["shop.mail"])] == ["renamed", "send"]
    assert [task.id for task in load(["shop.mail:send"])] == ["send"]
    assert [task.id for task in load(["shop.mail:other"])] == ["renamed"]
    assert [task.id for task in load(["shop.mail:renamed"])] == ["renamed"]
    assert [task.id for task in load(["shop/mail.py"])] == ["renamed", "send"]
    assert len(load(["shop.mail", "shop.mail:send", "shop"])) == 4


def test_imported_tasks_are_not_served_unless_they_are_named(folder: Path) -> None:
    _write(folder, {"one.py": TASK.format("first"), "two.py": "from one import first\n"})
    with pytest.raises(DefinitionError, match="two defines no task"):
        load(["two"])
    assert [task.id for task in load(["two:first"])] == ["first"]


def test_a_file_and_a_module_of_the_same_source_are_one(folder: Path) -> None:
    _write(folder, {"handlers.py": TASK.format("work")})
    by_name, by_path = load(["handlers"]), load(["handlers.py"])
    assert by_name[0] is by_path[0]
    assert len(load(["handlers", "./handlers.py"])) == 1


def test_files_do_not_hide_other_modules(folder: Path) -> None:
    _write(
        folder, {"queue.py": TASK.format("a"), "x/tasks.py": TASK.format("b"), "y/tasks.py": TASK.format("c")}
    )
    import queue  # noqa: PLC0415 - what must stay as it is

    tasks = load(["queue.py", "x/tasks.py", "y/tasks.py"])
    assert [task.id for task in tasks] == ["a", "b", "c"]
    assert sys.modules["queue"] is queue
    assert sys.modules["tasks"].__file__ == str(folder / "x/tasks.py")


def test_duplicate_ids_are_refused_with_both_places(folder: Path) -> None:
    text = "from tidemill import task\n@task(id='a')\ndef b(): ...\n@task(aliases=['a'])\ndef c(): ...\n"
    _write(folder, {"twins.py": text})
    with pytest.raises(DefinitionError) as caught:
        load(["twins"])
    assert f"{folder}/twins.py:2 and {folder}/twins.py:4" in caught.value.sentence
    assert "another id" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nowhere\n", "bad.py:1: bad doesn't import: ModuleNotFoundError"),
        ("x = 1\ny = x +\n", "bad.py:2: bad doesn't import: SyntaxError"),
        ("\n\nraise ValueError('no')\n", "bad.py:3: bad doesn't import: ValueError: no"),
        ("import sys\nsys.exit(0)\n", "bad.py:2: bad doesn't import: SystemExit: 0"),
        ("import json\n\njson.loads('{')\n", "bad.py:3: bad doesn't import: JSONDecodeError"),
        (
            "from tidemill import task\n@task(wher='x')\ndef f(): ...\n",
            "bad.py:2: @task has no option 'wher'",
        ),
        ("import bad.other\n", "ModuleNotFoundError"),
    ],
)
@pytest.mark.parametrize("spec", ["bad", "bad.py"])
def test_what_does_not_import_is_named_with_its_place(folder: Path, text: str, words: str, spec: str) -> None:
    _write(folder, {"bad.py": text})
    with pytest.raises(DefinitionError) as caught:
        load([spec])
    assert words.replace(": bad ", f": {spec} ") in caught.value.sentence
    assert caught.value.hint
    assert "bad" not in sys.modules  # nothing half-made is left


@pytest.mark.parametrize(
    ("spec", "words", "hint"),
    [
        ("missing", "there is no module 'missing'", "working directory"),
        ("missing.part", "there is no module 'missing.part'", "working directory"),
        ("missing.py", "there is no file missing.py", "path"),
        ("some/folder", "there is no file some/folder", "path"),
        ("good:other", "there is no task 'other' in good", "it defines work"),
        ("empty:other", "there is no task 'other' in empty", "no task at all"),
        ("empty", "empty defines no task", "@task"),
        ("data/", "there is no file data", "path"),
    ],
)
def test_what_is_not_there_is_said(folder: Path, spec: str, words: str, hint: str) -> None:
    _write(folder, {"good.py": TASK.format("work"), "empty.py": "x = 1\n", "data/x.txt": ""})
    with pytest.raises(DefinitionError) as caught:
        load([spec])
    assert words in caught.value.sentence
    assert hint in caught.value.hint


def test_a_file_of_another_kind_is_refused(folder: Path) -> None:
    _write(folder, {"some/notes.txt": "x"})
    with pytest.raises(DefinitionError, match="no Python file"):
        load(["some/notes.txt"])


def test_the_names_of_destinations_tasks_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "taken.py"
    file.write_text('from tidemill import task\n\n@task(id="forward.crm")\nasync def crm() -> None: ...\n')
    with pytest.raises(DefinitionError, match=r"'forward\.crm' is the name of a destination's task"):
        load([str(file)])
