"""The runner of a page's commands, which is all that stands between the README and a lie."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import free_port

FETCH = (
    f"{sys.executable} -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())'"
)
HERE = Path(__file__).parent


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quickstart", HERE / "quickstart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["quickstart"] = module
    spec.loader.exec_module(module)
    return module


quickstart = _load()


@pytest.fixture
def unused_port() -> int:
    return free_port()


def page(*blocks: tuple[str, str]) -> str:
    return "# Title\n\n" + "\n".join(f"{mark}\n```console\n{text}\n```\n" for mark, text in blocks)


def test_only_marked_blocks_run(tmp_path: Path) -> None:
    text = page(("", "touch unmarked"), ("<!-- run -->", "$ touch marked"), ("text", "touch prose"))
    assert quickstart.run_page(text, tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["marked"]


def test_folder_and_variables_carry_over(tmp_path: Path) -> None:
    text = page(
        ("<!-- run -->", "mkdir inner\ncd inner\nexport NAME='a b'"),
        ("<!-- run -->", 'touch "$NAME"'),
    )
    quickstart.run_page(text, tmp_path)
    assert (tmp_path / "inner" / "a b").exists()


@pytest.mark.parametrize("text", ["false", "false\ntrue", "false | true", 'echo "$UNSET_VARIABLE"'])
def test_a_failing_command_fails_the_page(text: str, tmp_path: Path) -> None:
    with pytest.raises(quickstart.FailedBlockError, match="exit code 1"):
        quickstart.run_page(page(("<!-- run -->", text)), tmp_path)


def test_a_page_without_marks_fails(tmp_path: Path) -> None:
    with pytest.raises(quickstart.FailedBlockError, match="no block"):
        quickstart.run_page(page(("", "true")), tmp_path)


def test_a_mistyped_mark_fails(tmp_path: Path) -> None:
    with pytest.raises(quickstart.FailedBlockError, match="unknown mark"):
        quickstart.run_page(page(("<!-- run: untill x -->", "echo x")), tmp_path)


def test_until_repeats(tmp_path: Path) -> None:
    quickstart.run_page(page(("<!-- run: until aaa -->", "printf a >> out; cat out")), tmp_path)
    assert (tmp_path / "out").read_text() == "aaa"


def test_until_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart, "UNTIL_SECONDS", 0.0)
    with pytest.raises(quickstart.FailedBlockError, match="didn't appear"):
        quickstart.run_page(page(("<!-- run: until never -->", "echo always")), tmp_path)


def test_background_blocks_are_waited_for_and_stopped(tmp_path: Path, unused_port: int) -> None:
    serve = f"{sys.executable} -m http.server --bind 127.0.0.1 {unused_port}"
    url = f"http://127.0.0.1:{unused_port}/"
    text = page((f"<!-- run: background, ready {url} -->", serve), ("<!-- run -->", f"{FETCH} {url} > page"))
    quickstart.run_page(text, tmp_path)
    assert "Directory listing" in (tmp_path / "page").read_text()


def test_a_background_block_that_ends_early_fails(tmp_path: Path, unused_port: int) -> None:
    text = page((f"<!-- run: background, ready http://127.0.0.1:{unused_port}/ -->", "false"))
    with pytest.raises(quickstart.FailedBlockError, match="exit code 1, no answer"):
        quickstart.run_page(text, tmp_path)
